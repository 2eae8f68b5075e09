"""Tests of bounds of seconds that widen on a slow or busy machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import machine_speed
from .machine_speed import REFERENCE_S, VARIABLE, scaled, slowdown, slowdown_of

ROOT = Path(__file__).parents[1]


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the session measure again; return the list of measured factors."""
    factors: list[float] = []

    def measure() -> float:
        factors.append(3.0)
        return factors[-1]

    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(machine_speed, "measure", measure)
    slowdown.cache_clear()
    monkeypatch.setattr(machine_speed, "slowdown", slowdown)
    return factors


@pytest.mark.parametrize(
    ("times_slower", "least"), [(0.5, 1.0), (1.0, 1.0), (2.5, 2.5), (6.0, 6.0)]
)
def test_bounds_widen_with_the_machine_and_never_narrow(
    times_slower: float, least: float
) -> None:
    """A fast machine keeps the bounds; a slow one gets at least its ratio."""
    factor = slowdown_of(times_slower * REFERENCE_S)
    assert least <= factor <= 1.5 * least


def test_a_session_measures_once_and_its_children_inherit_the_factor(
    measured: list[float], request: pytest.FixtureRequest
) -> None:
    """The factor is in the environment of all that is started afterwards."""
    request.addfinalizer(slowdown.cache_clear)
    assert (scaled(2.0), scaled(5.0)) == (6.0, 15.0)
    assert measured == [3.0]
    assert os.environ[VARIABLE] == "3.0"


def test_the_time_out_of_every_test_widens_too_and_the_factor_is_printed() -> None:
    """pytest-timeout gets the wider time-out, and its header shows it."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-n0", __file__]
    run = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {VARIABLE: "2.5"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "bounds of seconds are multiplied by 2.5" in run.stdout, run.stdout
    assert "timeout: 300.0s" in run.stdout, run.stdout
