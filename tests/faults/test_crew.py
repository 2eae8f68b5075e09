"""Rows side by side: each is judged once, and a worker may die."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from . import crew
from .crew import Told, side_by_side
from .fault import Fault
from .row import Seen

ROW = Fault(name="a", area="crew", expected="", bound_s=1.0)
DIES, HANGS = "dies", "hangs"


def tell(name: str) -> Told:
    """Tell of a row by its name; one dies, one hangs."""
    if name == DIES:
        os._exit(7)
    if name == HANGS:
        time.sleep(60)
    return Told(seen=Seen(what=f"{name} in {os.getpid()}"), is_kept=True)


def test_each_row_is_judged_once_and_a_worker_that_dies_has_failed_its_row() -> None:
    """Nothing that a row does to its process hides another one."""
    names = ["a", DIES, "b", "c", "d"]
    rows = [replace(ROW, name=name) for name in names]
    told = dict(side_by_side(rows, 1, tell))
    assert sorted(told) == list(range(len(rows))), f"rows were lost: {told}"
    kept = [told[at].is_kept for at in range(len(rows))]
    assert kept == [name != DIES for name in names], f"judged otherwise: {told}"
    assert "died (status 7)" in told[1].seen.what, told[1]


def test_rows_that_measure_come_first_and_share_with_none() -> None:
    """One process has them all, before another one begins."""
    measuring = [replace(ROW, name=name, detect_s=0.2) for name in "mno"]
    rows = [replace(ROW, name="a"), *measuring, replace(ROW, name="b")]
    told = list(side_by_side(rows, 2, tell))
    assert [at for at, _ in told[:3]] == [1, 2, 3], f"in another order: {told}"
    pids = {one.seen.what.split()[-1] for _, one in told[:3]}
    assert len(pids) == 1, "rows that measure ran in several processes"


def test_a_row_that_does_not_end_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker is killed, so that the matrix ends."""
    monkeypatch.setattr(crew, "_ROW_S", 5.0)
    rows = [replace(ROW, name=HANGS), replace(ROW, name="a")]
    told = dict(side_by_side(rows, 1, tell))
    assert "not over" in told[0].seen.what, told[0]
    assert told[1].is_kept, "no other worker took its place"
