"""How rounds become figures."""

from __future__ import annotations

from .arrival_bench import Seen


def test_a_round_that_did_not_arrive_leaves_no_median() -> None:
    """Two good rounds must not hide the one that failed."""
    seen = Seen([4.0, 4.0, 4.0], [5.0, 6.0, 9.0], [7.0, None, 7.0], [8.0, 9.0, 8.5])
    assert seen.medians() == {
        "floor_s": 4.0,
        "ours_s": 6.0,
        "recipe_s": None,
        "recipe_loaded_s": 8.5,
    }
    assert list(seen.only(2).medians().values()) == [4.0, 9.0, 7.0, 8.5]
