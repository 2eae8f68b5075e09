"""Fixtures of the scenarios."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.config.settings import Endpoints

from .counting_world import CountingWorld
from .home import Home, new_home, running_world


@contextlib.contextmanager
def _home(patch: pytest.MonkeyPatch) -> Iterator[Home]:
    for name in ("NGROK_AUTHTOKEN", "NGROK_API_KEY", "AVOCADO_REHEARSE"):
        patch.delenv(name, raising=False)
    with new_home(patch.setenv) as made:
        yield made


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Give a scenario a home of its own; at its end nothing may be left."""
    with _home(monkeypatch) as made:
        yield made


@pytest.fixture(scope="module")
def same_home() -> Iterator[Home]:
    """Give all scenarios of a module that leave a service as it is one home."""
    with pytest.MonkeyPatch.context() as patch, _home(patch) as made:
        yield made


@pytest.fixture(scope="module")
def running(same_home: Home) -> Avocado:
    """Bring up, once, what those scenarios look at."""
    return same_home.up("tiny")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoints]:
    """Run a release host, registry and edge that the product takes for the real."""
    with running_world(tmp_path_factory.mktemp("world")) as sources:
        yield sources


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[CountingWorld]:
    """Run a release host and registry that count, and hold bytes until released."""
    with CountingWorld(tmp_path / "counting") as world:
        yield world
