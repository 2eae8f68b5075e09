"""Fixtures of the scenarios."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from spicy_avocado_magic.settings import Sources

from .counting_world import CountingWorld
from .home import Home, new_home, running_world


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Give a scenario a home of its own; at its end nothing may be left."""
    for name in ("NGROK_AUTHTOKEN", "NGROK_API_KEY", "AVOCADO_REHEARSE"):
        monkeypatch.delenv(name, raising=False)
    with new_home(monkeypatch.setenv) as made:
        yield made


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Sources]:
    """Run a release host, registry and edge that the product takes for the real."""
    with running_world(tmp_path / "world") as sources:
        yield sources


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[CountingWorld]:
    """Run a release host and registry that count, and hold bytes until told."""
    with CountingWorld(tmp_path / "counting") as world:
        yield world
