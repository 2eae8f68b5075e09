"""The share of the machine that others took."""

from __future__ import annotations

from typing import NamedTuple

from .stolen import Stolen, stolen_percent


class Linux(NamedTuple):
    """As psutil reads it there."""

    user: float
    system: float
    idle: float
    iowait: float
    steal: float
    guest: float


class Mac(NamedTuple):
    """As psutil reads it there."""

    user: float
    nice: float
    system: float
    idle: float


def test_rest_is_not_what_was_asked_for() -> None:
    """Nor is the time of guests, which is counted among the users'."""
    before = Linux(100.0, 100.0, 100.0, 100.0, 100.0, 100.0)
    after = Linux(150.0, 125.0, 900.0, 200.0, 125.0, 110.0)
    assert stolen_percent(before, after) == 25.0


def test_a_machine_without_the_count_lost_nothing() -> None:
    """MacOS does not count it, and no share exists where no time went by."""
    assert stolen_percent(Mac(1.0, 1.0, 1.0, 1.0), Mac(2.0, 1.0, 2.0, 2.0)) == 0.0
    same = Mac(1.0, 1.0, 1.0, 1.0)
    assert stolen_percent(same, same) == 0.0


def test_this_machine_has_a_share() -> None:
    """Whatever it is made of."""
    assert 0.0 <= Stolen().percent() <= 100.0
