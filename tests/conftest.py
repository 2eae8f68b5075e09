"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator

import pytest
import uvloop

from .real_engines import real_ollama

__all__ = ["real_ollama"]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect tests, not garbage: Python 3.11.7 may fail to parse meanwhile."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], uvloop.Loop]]:
    """Run coroutines on the loop that the host has, so that its ways are tested."""
    return {"uvloop": uvloop.new_event_loop}
