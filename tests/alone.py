"""The mark ``alone``: a test that measures runs while no other worker runs one.

Each test holds a lock that all workers share, one with the mark exclusively. These
come last: the others then wait for them once, not each time.
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
    """Hold the lock for the block: shared with other tests, or exclusively."""
    with _ENTRY_LOCK.open() as entry, _RUN_LOCK.open() as run:
        # Held while waiting for exclusiveness, so that no other test starts first.
        fcntl.flock(entry, fcntl.LOCK_EX)
        fcntl.flock(run, fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH)
        if not is_alone:
            fcntl.flock(entry, fcntl.LOCK_UN)
        yield


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Move tests with the mark to the end of a run that workers share."""
    if hasattr(config, "workerinput"):
        items.sort(key=_is_alone)


def _is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test, its fixtures included, beside others or alone."""
    with turn(is_alone=_is_alone(item)):
        return (yield)
