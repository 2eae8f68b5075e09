"""Worker processes that run several rows at a time."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Final

import pytest

from tests.machine_speed import scaled

from .fault import Fault
from .matrix import named
from .row import Seen, run

JOBS: Final = min(12, max(3, 3 * (os.cpu_count() or 1) // 2))
"""Three workers for two cores, since rows wait more than they compute."""
_ROW_S: Final = scaled(120.0)
"""No row takes longer; a worker with one that does is killed."""
_LOOK_S: Final = 1.0
_END_S: Final = scaled(10.0)


@dataclass(frozen=True, kw_only=True)
class RowResult:
    """The result of a row, as its worker sends it."""

    seen: Seen
    is_kept: bool
    trace: str = ""


Judge = Callable[[str], RowResult]


def judge(name: str) -> RowResult:
    """Run a row in this process."""
    try:
        return RowResult(seen=run(named(name)), is_kept=True)
    # pytest raises the second where an expected error did not come.
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001  (others go on)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return _failed(reason, traceback.format_exc())


def _failed(reason: str, trace: str = "") -> RowResult:
    return RowResult(seen=Seen(summary=f"FAILED: {reason}"), is_kept=False, trace=trace)


def side_by_side(
    faults: Sequence[Fault], jobs: int, judge: Judge = judge
) -> Iterator[tuple[int, RowResult]]:
    """Run rows in processes of their own; yield each with its place as it ends.

    First those that must be alone, one at a time; then the others. A worker that dies
    has failed its row, and another one takes its place.
    """
    places = range(len(faults))
    for count, is_alone in ((1, True), (jobs, False)):
        rows = [(at, faults[at].name) for at in places]
        yield from _shared(
            [row for row in rows if faults[row[0]].is_alone is is_alone], count, judge
        )


def _shared(
    rows: Sequence[tuple[int, str]], jobs: int, judge: Judge
) -> Iterator[tuple[int, RowResult]]:
    left = deque(rows)
    busy: list[_Worker] = []
    idle: list[_Worker] = []
    try:
        while left or busy:
            while left and len(busy) < jobs:
                worker = idle.pop() if idle else _Worker(judge)
                worker.give(*left.popleft())
                busy.append(worker)
            wait([worker.pipe for worker in busy], _LOOK_S)
            for worker in list(busy):
                if (result := worker.news()) is not None:
                    busy.remove(worker)
                    if worker.is_alive:
                        idle.append(worker)
                    yield worker.place, result
    finally:
        for worker in (*busy, *idle):
            worker.end()


class _Worker:
    """A process that runs one row after the other."""

    def __init__(self, judge: Judge) -> None:
        # Not forked: a row begins in a process without threads of others.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, judge))
        self._process.start()
        theirs.close()
        self.place = 0
        self._deadline = 0.0

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def give(self, place: int, name: str) -> None:
        self.place, self._deadline = place, time.monotonic() + _ROW_S
        self.pipe.send(name)

    def news(self) -> RowResult | None:
        """Return the result of its row, or None before its end."""
        if time.monotonic() > self._deadline:
            self._process.kill()
            self._process.join()
            return _failed(f"it was not over after {_ROW_S:g} s")
        try:
            return self.pipe.recv() if self.pipe.poll() else None
        except (EOFError, ConnectionError):
            self._process.join()
            return _failed(f"its worker died (status {self._process.exitcode})")

    def end(self) -> None:
        """Let it end, by force if it must be."""
        self.pipe.close()
        self._process.join(_END_S)
        if self.is_alive:
            self._process.kill()
            self._process.join()


def _work(pipe: Connection, judge: Judge) -> None:
    # What the world's servers log of clients that leave is no part of the table.
    logging.getLogger().addHandler(logging.NullHandler())
    # Nobody may wait for it any more: the matrix was interrupted.
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(judge(pipe.recv()))
