"""The limit of redraws per second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.notebook.display.updatable import RedrawThrottle


def require_few(times: list[float], most: int) -> None:
    """Fail if any second, ends included, has more draws than ``most``."""
    for index, at in enumerate(times):
        within = [other for other in times[index:] if other - at <= 1.0]
        assert len(within) <= most, f"{within} are more than {most} a second"


@pytest.mark.parametrize("ends", [1, 2])
@pytest.mark.parametrize("steps_a_second", [100, 12, 4, 3])
def test_no_second_has_more_draws_than_allowed(ends: int, steps_a_second: int) -> None:
    """Whenever the final draws of the cell happen, which do not wait."""
    now = 0.0
    throttle = RedrawThrottle(lambda: now, final_draws=ends)
    moves = []
    for step in range(10 * steps_a_second):
        now = step / steps_a_second
        if throttle.is_due:
            moves.append(now)
            throttle.record_draw()
    assert len(moves) > 10, "it is hardly redrawn"
    for end_s in moves:
        require_few(sorted([*moves, *[end_s] * ends]), Timeouts().draws_a_second)


def test_draws_are_evenly_spread() -> None:
    """Not three at once and then none for a long time."""
    now = 0.0
    throttle = RedrawThrottle(lambda: now)
    throttle.record_draw()
    now = 0.3
    assert not throttle.is_due
    now = 0.34
    assert throttle.is_due


def test_a_draw_counts_from_when_it_was_sent() -> None:
    """However long it took to render."""
    now = 0.0
    throttle = RedrawThrottle(lambda: now)
    assert throttle.is_due
    now = 5.0
    throttle.record_draw()
    now = 5.1
    assert not throttle.is_due


def test_the_limit_is_a_timeout_setting() -> None:
    """Even a limit below the number of final draws allows some redraws."""
    now = 0.0
    throttle = RedrawThrottle(lambda: now, replace(Timeouts(), draws_a_second=1))
    assert throttle.is_due
    throttle.record_draw()
    now = 0.9
    assert not throttle.is_due
    now = 1.1
    assert throttle.is_due
