"""Floors by arithmetic; the measured ones are as right as a stopwatch."""

from __future__ import annotations

import pytest

from .arrival_bench import CASES
from .arrival_floor import link_floor_s
from .throttle import Shape


@pytest.mark.parametrize(
    ("case", "expected_s"), [("total", 44.8), ("lossy", 44.8), ("capped", 5.6)]
)
def test_a_floor_is_the_bytes_by_the_total_rate(case: str, expected_s: float) -> None:
    """560 MB take 44.8 s at 100 Mbit/s, and 5.6 s at 800, whatever is cut or capped."""
    assert link_floor_s(CASES[case], 560_000_000) == pytest.approx(expected_s)


def test_an_unthrottled_link_has_no_floor_by_arithmetic() -> None:
    """Nothing is divided by a rate that is not there."""
    with pytest.raises(ValueError, match="measure it"):
        link_floor_s(Shape(), 1)
