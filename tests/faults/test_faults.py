"""The whole matrix, a test for each row."""

from __future__ import annotations

import pytest

from .fault import Fault
from .matrix import ROWS, why_not
from .row import run


def _param(fault: Fault) -> object:
    marks = [pytest.mark.alone] if fault.is_alone else []
    return pytest.param(fault, id=f"{fault.area}-{fault.name}", marks=marks)


@pytest.mark.parametrize("fault", [_param(fault) for fault in ROWS])
def test_the_four_promises_hold(fault: Fault) -> None:
    """What breaks comes back, on the same URL, and nothing is left behind."""
    if reason := why_not(fault):
        pytest.skip(reason)
    run(fault)


def test_no_two_rows_have_the_same_name() -> None:
    """`--only` must mean one row."""
    names = [fault.name for fault in ROWS]
    assert len(names) == len(set(names)), "two rows have the same name"
