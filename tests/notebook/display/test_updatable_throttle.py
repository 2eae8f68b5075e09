"""How often a cell draws while it moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.notebook.display.updatable import RedrawThrottle


def require_few(times: list[float], most: int) -> None:
    """Expect no more than so many in any second, its two ends included."""
    for index, at in enumerate(times):
        within = [other for other in times[index:] if other - at <= 1.0]
        assert len(within) <= most, f"{within} are more than {most} in a second"


@pytest.mark.parametrize("ends", [1, 2])
@pytest.mark.parametrize("steps_a_second", [100, 12, 4, 3])
def test_no_second_has_more_drawings_than_allowed(
    ends: int, steps_a_second: int
) -> None:
    """Whenever the displays of the cell come to their ends, which wait for nothing."""
    now = 0.0
    pace = RedrawThrottle(lambda: now, final_draws=ends)
    moves = []
    for step in range(10 * steps_a_second):
        now = step / steps_a_second
        if pace.is_due:
            moves.append(now)
            pace.record_draw()
    assert len(moves) > 10, "it hardly moves"
    for end_s in moves:
        require_few(sorted([*moves, *[end_s] * ends]), Timeouts().draws_a_second)


def test_drawings_are_evenly_spread() -> None:
    """Not three at once and then none for long."""
    now = 0.0
    pace = RedrawThrottle(lambda: now)
    pace.record_draw()
    now = 0.3
    assert not pace.is_due
    now = 0.34
    assert pace.is_due


def test_a_drawing_counts_from_when_it_was_sent() -> None:
    """However long it took to make it."""
    now = 0.0
    pace = RedrawThrottle(lambda: now)
    assert pace.is_due
    now = 5.0
    pace.record_draw()
    now = 5.1
    assert not pace.is_due


def test_the_policy_says_how_many() -> None:
    """As it does for every bound; one that leaves no room for the ends still moves."""
    now = 0.0
    pace = RedrawThrottle(lambda: now, replace(Timeouts(), draws_a_second=1))
    assert pace.is_due
    pace.record_draw()
    now = 0.9
    assert not pace.is_due
    now = 1.1
    assert pace.is_due
