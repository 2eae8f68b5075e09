"""The mark ``alone``: what measures runs while no other worker runs a test.

Each test holds a lock that all workers share; one with the mark has it to itself.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

_RUN_LOCK = Path(__file__)
_ENTRY_LOCK = _RUN_LOCK.with_name("conftest.py")
"""Any file can be locked; these two are there, and the same for every worker."""


@contextlib.contextmanager
def turn(*, is_alone: bool) -> Iterator[None]:
    """Take part in the run, beside the others or alone, as long as the block lasts."""
    with _ENTRY_LOCK.open() as entry, _RUN_LOCK.open() as run:
        # Held by one that waits to be alone, so that nobody enters before it.
        fcntl.flock(entry, fcntl.LOCK_EX)
        fcntl.flock(run, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        if not is_alone:
            fcntl.flock(entry, fcntl.LOCK_UN)
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test, its fixtures included, beside others or alone."""
    with turn(is_alone=item.get_closest_marker("alone") is not None):
        return (yield)
