"""Checks run concurrently; none stops the others, and none raises."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from spicy_avocado_magic.config.settings import Endpoints, Settings
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.doctor.context import DoctorContext
from spicy_avocado_magic.doctor.network import check_agent_download
from spicy_avocado_magic.doctor.programs import check_agent
from spicy_avocado_magic.doctor.runner import Check, run_checks
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.protocol.finding import CheckStatus, Finding, ok
from spicy_avocado_magic.tunnel.registry import PROVIDERS
from tests.machine_speed import scaled

from ..loopback_tunnel import LoopbackProvider
from .conftest import New


@pytest.fixture
def forever() -> Iterator[threading.Event]:
    """Return an event that hanging checks wait for; set when the test ends."""
    event = threading.Event()
    yield event
    event.set()


def raising(name: str, error: Exception) -> Check:
    """Return a check that raises."""

    def run(_case: DoctorContext) -> Finding:
        raise error

    return Check(name, run)


def test_a_check_that_raises_is_a_finding(new_context: New) -> None:
    """Our own errors give problem and remedy; others are named."""
    ours, other = run_checks(
        new_context(),
        (
            raising("ours", UsageError("It broke.", "Fix it.")),
            raising("other", KeyError(7)),
        ),
    )
    assert (ours.verdict, ours.what, ours.remedy) == (
        CheckStatus.BROKEN,
        "It broke.",
        "Fix it.",
    )
    assert other.verdict is CheckStatus.UNKNOWN, other
    assert "KeyError" in other.what
    assert other.remedy


def test_a_check_that_hangs_is_a_finding_and_delays_no_other(
    new_context: New, forever: threading.Event
) -> None:
    """Each kind has a time limit; the remedy of a timeout is used if there is one."""

    def hang(_case: DoctorContext) -> Finding:
        forever.wait()
        return ok("")

    policy = replace(Timeouts(), diagnosis_host_s=0.1, diagnosis_check_s=0.2)
    checks = (
        Check("far", hang, is_remote=True, timeout_remedy="Go online."),
        Check("near", hang),
        Check("good", lambda _: ok("Fine.")),
    )
    began = time.monotonic()
    far, near, good = run_checks(new_context(timeouts=policy), checks)
    assert time.monotonic() - began < scaled(5), "the time limits were not kept"
    assert (far.verdict, far.remedy) == (CheckStatus.BROKEN, "Go online."), far
    assert "0.1 s" in far.what
    assert near.verdict is CheckStatus.UNKNOWN, near
    assert "0.2 s" in near.what
    assert good == ok("Fine.", name="good")


def test_checks_run_concurrently(new_context: New) -> None:
    """Two that wait for each other both end."""
    meeting = threading.Barrier(2)

    def meet(_case: DoctorContext) -> Finding:
        meeting.wait(scaled(10))
        return ok("Fine.")

    checks = (Check("first", meet), Check("second", meet))
    found = run_checks(new_context(), checks)
    assert [finding.verdict for finding in found] == [CheckStatus.OK] * 2, found


def test_checks_of_the_tunnel_are_skipped_without_one(new_context: New) -> None:
    """With ``--local`` they are not run, and say why."""

    def fail(_context: DoctorContext) -> Finding:
        raise AssertionError

    context = new_context(settings=Settings(local=True))
    (found,) = run_checks(context, (Check("agent", fail, needs_tunnel=True),))
    assert found.verdict is CheckStatus.OK, found
    assert "--local" in found.what


def test_a_provider_without_a_program_needs_no_agent(
    new_context: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is downloaded or installed for it."""
    monkeypatch.setitem(PROVIDERS, "loopback", LoopbackProvider())
    settings = Settings(sources=Endpoints(tunnel="loopback"))
    for check in (check_agent, check_agent_download):
        found = check(new_context(settings=settings))
        assert found.verdict is CheckStatus.OK, found
        assert "Not needed" in found.what
