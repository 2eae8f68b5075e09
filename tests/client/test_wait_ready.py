"""Following a host to its end: ready, given up, stalled, or gone."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import cast

import pytest

from spicy_avocado_magic.client.control_client import ControlClient
from spicy_avocado_magic.client.outcome import Failed, TimedOut
from spicy_avocado_magic.client.wait_ready import check_health, wait_until_ready
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.errors import DaemonUnreachable, GatewayFailed, InvalidToken
from spicy_avocado_magic.protocol.state import Failure, Phase, Progress, Stage, State


class Script:
    """A connection that plays states."""

    def __init__(self, states: Iterable[State]) -> None:
        self._states = states

    def follow(self, after: int = 0) -> Iterator[State]:
        """Yield the script."""
        yield from self._states


def play(states: Iterable[State], policy: Timeouts) -> State | Failed | TimedOut:
    """Follow a script, showing nothing."""
    return wait_until_ready(
        cast("ControlClient", Script(states)), lambda _: None, policy
    )


def state(phase: Phase, done_bytes: int = 0, failure: Failure | None = None) -> State:
    """Return a state with one stage."""
    progress = Progress(done_bytes=done_bytes, total_bytes=100)
    stage = Stage(
        name="pull",
        component="models",
        phase=phase,
        progress=progress,
        failure=failure,
    )
    return State(pid=1, stages=(stage,))


def test_ready_ends_the_following_with_the_state() -> None:
    """The last state shown is the one that is returned."""
    ready = state(Phase.READY)
    assert play([state(Phase.STARTING), ready], Timeouts()) == ready


def test_what_was_given_up_is_an_error_of_its_kind() -> None:
    """The host's failure becomes the error that the cell raises."""
    failure = Failure(kind="InvalidToken", problem="No.", remedy="Another.")
    outcome = play([state(Phase.FAILED, failure=failure)], Timeouts())
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, InvalidToken)


def test_a_host_that_ends_meanwhile_is_told() -> None:
    """The stream's end is not taken for success."""
    with pytest.raises(DaemonUnreachable, match="ended"):
        play([state(Phase.STARTING)], Timeouts())


def test_no_progress_for_the_policys_time_is_timed_out() -> None:
    """The outcome names what is waited for."""

    def standing_still() -> Iterator[State]:
        while True:
            time.sleep(0.005)
            yield state(Phase.STARTING, 10)

    outcome = play(standing_still(), Timeouts(stalled_s=0.05))
    assert isinstance(outcome, TimedOut)
    assert outcome.waiting_for == "pull"


def test_what_is_tried_again_is_told_with_its_cause() -> None:
    """Whoever gave up waiting learns what is in the way."""
    failure = Failure(kind="NetworkUnreachable", problem="No net.", remedy="Plug in.")

    def without_a_network() -> Iterator[State]:
        while True:
            time.sleep(0.005)
            yield state(Phase.BACKOFF, failure=failure)

    outcome = play(without_a_network(), Timeouts(stalled_s=0.05))
    assert isinstance(outcome, TimedOut)
    assert outcome.waiting_for == "pull: No net"


def test_bytes_that_come_are_progress() -> None:
    """A long pull is never timed out while bytes come."""

    def crawling() -> Iterator[State]:
        for done in range(20):
            time.sleep(0.01)
            yield state(Phase.STARTING, done)
        yield state(Phase.READY)

    assert isinstance(play(crawling(), Timeouts(stalled_s=0.1)), State)


def test_a_service_that_does_not_answer_the_kernel_is_told() -> None:
    """Ready in its own words is not enough."""
    silent = State(pid=1, local_url="http://127.0.0.1:9")
    with pytest.raises(GatewayFailed):
        check_health(silent, Timeouts(request_s=0.2))
