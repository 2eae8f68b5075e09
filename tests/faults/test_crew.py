"""Rows side by side: each is judged once, and a worker may die."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from . import crew
from .crew import RowResult, side_by_side
from .fault import Fault
from .row import Seen

ROW = Fault(name="a", area="crew", expected="", bound_s=1.0)
DIES, HANGS = "dies", "hangs"


def fake_result(name: str) -> RowResult:
    """Return a result for a row's name; one dies, one hangs."""
    if name == DIES:
        os._exit(7)
    if name == HANGS:
        time.sleep(60)
    return RowResult(seen=Seen(summary=f"{name} in {os.getpid()}"), is_kept=True)


def test_each_row_is_judged_once_and_a_worker_that_dies_has_failed_its_row() -> None:
    """Nothing that a row does to its process hides another one."""
    names = ["a", DIES, "b", "c", "d"]
    rows = [replace(ROW, name=name) for name in names]
    results = dict(side_by_side(rows, 1, fake_result))
    assert sorted(results) == list(range(len(rows))), f"rows were lost: {results}"
    kept = [results[at].is_kept for at in range(len(rows))]
    assert kept == [name != DIES for name in names], f"judged otherwise: {results}"
    assert "died (status 7)" in results[1].seen.summary, results[1]


def test_rows_that_measure_come_first_and_share_with_none() -> None:
    """One process has them all, before another one begins."""
    measuring = [replace(ROW, name=name, detect_s=0.2) for name in "mno"]
    rows = [replace(ROW, name="a"), *measuring, replace(ROW, name="b")]
    results = list(side_by_side(rows, 2, fake_result))
    assert [at for at, _ in results[:3]] == [1, 2, 3], f"in another order: {results}"
    pids = {result.seen.summary.split()[-1] for _, result in results[:3]}
    assert len(pids) == 1, "rows that measure ran in several processes"


def test_a_row_that_does_not_end_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker is killed, so that the matrix ends."""
    monkeypatch.setattr(crew, "_ROW_S", 5.0)
    rows = [replace(ROW, name=HANGS), replace(ROW, name="a")]
    results = dict(side_by_side(rows, 1, fake_result))
    assert "not over" in results[0].seen.summary, results[0]
    assert results[1].is_kept, "no other worker took its place"
