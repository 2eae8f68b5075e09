"""Fixtures that every folder of tests may use."""

from __future__ import annotations

import gc
from collections.abc import Generator

import pytest

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
