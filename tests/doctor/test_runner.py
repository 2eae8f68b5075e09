"""Checks side by side: none may stop the others, or raise."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.doctor.context import DoctorContext
from spicy_avocado_magic.doctor.runner import Check, run_checks
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.protocol.finding import CheckStatus, Finding, ok
from tests.machine_speed import scaled

from .conftest import New


@pytest.fixture
def forever() -> Iterator[threading.Event]:
    """Return what hanging checks wait for; it comes with the end of the test."""
    event = threading.Event()
    yield event
    event.set()


def raising(error: Exception) -> Check:
    """Return a check that raises."""

    def run(_case: DoctorContext) -> Finding:
        raise error

    return Check(name="raising", run=run)


def test_a_check_that_raises_is_a_finding(new_case: New) -> None:
    """Our own errors tell problem and remedy; others what they are."""
    ours, other = run_checks(
        new_case(),
        (raising(UsageError("It broke.", "Mend it.")), raising(KeyError(7))),
    )
    assert (ours.verdict, ours.what, ours.remedy) == (
        CheckStatus.BROKEN,
        "It broke.",
        "Mend it.",
    )
    assert other.verdict is CheckStatus.UNKNOWN, other
    assert "KeyError" in other.what
    assert other.remedy


def test_a_check_that_hangs_is_a_finding_and_holds_up_no_other(
    new_case: New, forever: threading.Event
) -> None:
    """Each kind has its bound; what it means is told where that is known."""

    def hang(_case: DoctorContext) -> Finding:
        forever.wait()
        return ok("late", "")

    policy = replace(Timeouts(), diagnosis_host_s=0.1, diagnosis_check_s=0.2)
    checks = (
        Check(name="far", run=hang, is_remote=True, timeout_remedy="Go online."),
        Check(name="near", run=hang),
        Check(name="good", run=lambda _case: ok("good", "Fine.")),
    )
    began = time.monotonic()
    far, near, good = run_checks(new_case(policy=policy), checks)
    assert time.monotonic() - began < 5, "the bounds were not kept"
    assert (far.verdict, far.remedy) == (CheckStatus.BROKEN, "Go online."), far
    assert "0.1 s" in far.what
    assert near.verdict is CheckStatus.UNKNOWN, near
    assert "0.2 s" in near.what
    assert good == ok("good", "Fine.")


def test_checks_run_side_by_side(new_case: New) -> None:
    """Two that wait for each other both come to their end."""
    meeting = threading.Barrier(2)

    def meet(_case: DoctorContext) -> Finding:
        meeting.wait(scaled(10))
        return ok("met", "Fine.")

    checks = (Check(name="one", run=meet), Check(name="two", run=meet))
    found = run_checks(new_case(), checks)
    assert [one.verdict for one in found] == [CheckStatus.OK] * 2, found
