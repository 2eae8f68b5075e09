"""Waiting for a daemon: ready, failed, stalled or ended."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import cast

import pytest

from spicy_avocado_magic.client.control_client import ControlClient
from spicy_avocado_magic.client.wait_ready import check_health, wait_until_ready
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.errors import (
    DaemonUnreachable,
    GatewayFailed,
    InvalidToken,
    StartTimeout,
)
from spicy_avocado_magic.protocol.state import Failure, Phase, Progress, Stage, State


class Script:
    """A control client that yields given states."""

    def __init__(self, states: Iterable[State]) -> None:
        self._states = states

    def follow(self, after: int = 0) -> Iterator[State]:
        """Yield the states."""
        yield from self._states


def play(states: Iterable[State], timeouts: Timeouts) -> State:
    """Wait for a daemon with these states."""
    daemon = cast("ControlClient", Script(states))
    return wait_until_ready(daemon, lambda _: None, timeouts)


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


def test_the_ready_state_is_returned() -> None:
    """It is the last one shown."""
    ready = state(Phase.READY)
    assert play([state(Phase.STARTING), ready], Timeouts()) == ready


def test_a_failure_is_raised_as_an_error_of_its_class() -> None:
    """The daemon's failure becomes the error of the cell."""
    failure = Failure(kind="InvalidToken", problem="No.", remedy="Another.")
    with pytest.raises(InvalidToken, match="No"):
        play([state(Phase.FAILED, failure=failure)], Timeouts())


def test_a_daemon_that_ends_meanwhile_is_an_error() -> None:
    """The end of the stream is not success."""
    with pytest.raises(DaemonUnreachable, match="ended"):
        play([state(Phase.STARTING)], Timeouts())


def test_no_progress_for_too_long_is_a_time_out() -> None:
    """The error names the stage that does not progress."""

    def standing_still() -> Iterator[State]:
        while True:
            time.sleep(0.005)
            yield state(Phase.STARTING, 10)

    with pytest.raises(StartTimeout, match=r"\(pull\)"):
        play(standing_still(), Timeouts(stalled_s=0.05))


def test_a_time_out_names_the_failure_of_what_is_retried() -> None:
    """The user learns what prevents the start."""
    failure = Failure(kind="NetworkUnreachable", problem="No net.", remedy="Plug in.")

    def without_a_network() -> Iterator[State]:
        while True:
            time.sleep(0.005)
            yield state(Phase.BACKOFF, failure=failure)

    with pytest.raises(StartTimeout, match=r"\(pull: No net\)"):
        play(without_a_network(), Timeouts(stalled_s=0.05))


def test_received_bytes_are_progress() -> None:
    """A long pull does not time out while bytes arrive."""

    def crawling() -> Iterator[State]:
        for done in range(20):
            time.sleep(0.01)
            yield state(Phase.STARTING, done)
        yield state(Phase.READY)

    assert play(crawling(), Timeouts(stalled_s=0.1)).is_ready


def test_a_ready_service_that_does_not_answer_the_kernel_is_an_error() -> None:
    """The state alone is no proof."""
    silent = State(pid=1, local_url="http://127.0.0.1:9")
    with pytest.raises(GatewayFailed):
        check_health(silent, Timeouts(request_s=0.2))
