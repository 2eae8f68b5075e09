"""Fixtures of the scenarios."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from spicy_avocado_magic.settings import Sources

from .home import Home, new_home, running_world


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Give a scenario a home of its own; at its end nothing may be left."""
    for name in ("NGROK_AUTHTOKEN", "NGROK_API_KEY", "AVOCADO_REHEARSE"):
        monkeypatch.delenv(name, raising=False)
    with new_home(monkeypatch.setenv) as made:
        yield made


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    """Run a release host, registry and edge that the product takes for the real."""
    with running_world(tmp_path_factory.mktemp("world")) as sources:
        yield sources
