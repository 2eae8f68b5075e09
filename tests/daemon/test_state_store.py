"""The board: stages, events, progress and failures as one state."""

from __future__ import annotations

import asyncio

import pytest

from spicy_avocado_magic.daemon.state_store import (
    EVENTS_KEPT,
    RateMeter,
    StateStore,
    to_failure,
)
from spicy_avocado_magic.errors import EngineFailed
from spicy_avocado_magic.protocol.state import ModelState, Phase, State
from spicy_avocado_magic.system.redaction import Redactor
from tests.machine_speed import scaled


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock at a hundred seconds."""
    return Clock()


@pytest.fixture
def board(clock: Clock) -> StateStore:
    """A fresh board."""
    return StateStore(State(), clock=clock)


ERROR = EngineFailed("It died.", "Wait.", log_tail=("last words",))


def test_a_transition_is_an_event_with_the_next_number(board: StateStore) -> None:
    """A follower can ask for what came after a number."""
    board.stage("serve", Phase.STARTING, "starting")
    board.stage("serve", Phase.READY)
    assert [event.sequence for event in board.events] == [1, 2]
    assert board.sequence == board.snapshot().sequence == 2
    last = board.events[-1]
    assert (last.component, last.stage, last.phase) == ("engine", "serve", Phase.READY)
    assert last.text == "starting", "a phase without a detail keeps the one before"


def test_live_warnings_stand_beside_those_that_stay(board: StateStore) -> None:
    """What one part warns of does not hide what another one did."""
    board.update(warnings=("slow driver",))
    board.live_fields = lambda: {"requests": 2, "warnings": ("models differ",)}
    state = board.snapshot()
    assert state.requests == 2
    assert state.warnings == ("slow driver", "models differ")
    board.live_fields = dict
    assert board.snapshot().warnings == ("slow driver",), "a live warning stayed"


def test_saying_the_same_again_is_no_event(board: StateStore) -> None:
    """Followers hear of changes only."""
    board.stage("serve", Phase.STARTING, "starting")
    version = board.version
    board.stage("serve", Phase.STARTING, "starting")
    assert (len(board.events), board.version) == (1, version)


def test_only_the_last_events_are_kept(board: StateStore) -> None:
    """A host that runs for weeks does not grow."""
    for number in range(EVENTS_KEPT + 5):
        board.stage("serve", Phase.STARTING, str(number))
    assert len(board.events) == EVENTS_KEPT
    assert board.events[0].sequence == 6


def test_a_stage_has_its_elapsed_time(board: StateStore, clock: Clock) -> None:
    """The time runs through backoff, and stands still once it is ready."""
    board.stage("serve", Phase.STARTING, "starting")
    clock.now += 2
    board.fail("engine", ERROR, again=True)
    clock.now += 1
    assert board.snapshot().stage("serve").elapsed_s == 3
    board.stage("serve", Phase.READY, "up")
    clock.now += 10
    state = board.snapshot()
    assert (state.stage("serve").elapsed_s, state.uptime_s) == (3, 13)


def test_time_left_is_reported_and_never_negative(
    board: StateStore, clock: Clock
) -> None:
    """``--ttl`` counts down to nothing."""
    assert board.snapshot().ends_in_s is None
    board.ends_at = clock.now + 5
    assert board.snapshot().ends_in_s == 5
    clock.now += 6
    assert board.snapshot().ends_in_s == 0


def test_progress_never_runs_backwards(board: StateStore) -> None:
    """A part that is downloaded again does not reduce the progress."""
    board.stage("pull", Phase.STARTING, "pulling")
    board.progress("pull", 60, 100)
    board.progress("pull", 40, 100)
    progress = board.snapshot().stage("pull").progress
    assert progress is not None
    assert progress.done_bytes == 60
    board.progress("pull", 10, 500)
    progress = board.snapshot().stage("pull").progress
    assert progress is not None
    assert progress.done_bytes == 10, "another total is another download"
    assert len(board.events) == 1, "progress is state, not an event"


def test_the_rate_is_that_of_the_last_seconds() -> None:
    """An early burst does not flatter a stalled download."""
    meter = RateMeter()
    assert meter.rate(0.0) == 0
    meter.add(0.0, 0)
    assert meter.rate(0.0) == 0
    meter.add(1.0, 1000)
    assert meter.rate(1.0) == 1000
    for second in range(2, 8):
        meter.add(float(second), 1000)
    assert meter.rate(4.0) == 250
    assert meter.rate(7.0) == 0


def test_the_rate_falls_while_nothing_comes(board: StateStore, clock: Clock) -> None:
    """A stall is seen without a sample: the rate is that of now."""
    board.stage("pull", Phase.STARTING, "pulling")
    board.progress("pull", 0, 100_000)
    clock.now += 1
    board.progress("pull", 4000, 100_000)
    rates = []
    for _ in range(8):
        progress = board.snapshot().stage("pull").progress
        assert progress is not None
        rates.append(progress.rate_bytes_s)
        clock.now += 1
    assert rates[0] == 4000
    assert rates == sorted(rates, reverse=True), "the rate rose without a byte"
    assert rates[-1] == 0, "a download that stands still has a rate"
    last = board.snapshot().stage("pull").progress
    assert last is not None
    assert last.left_s is None, "a time is left although nothing comes"


def test_what_was_on_disk_is_not_taken_for_a_fast_network(
    board: StateStore, clock: Clock
) -> None:
    """The first sample is where one begins."""
    board.stage("pull", Phase.STARTING, "pulling")
    board.progress("pull", 50_000, 100_000)
    clock.now += 1
    board.progress("pull", 50_100, 100_000)
    progress = board.snapshot().stage("pull").progress
    assert progress is not None
    assert progress.rate_bytes_s == 100


@pytest.mark.parametrize(
    ("again", "phase"), [(True, Phase.BACKOFF), (False, Phase.FAILED)]
)
def test_a_failure_marks_the_stage_that_was_running(
    board: StateStore, again: bool, phase: Phase
) -> None:
    """The user sees which step fell, and why, with the log's last words."""
    board.stage("install", Phase.READY, "found")
    board.stage("serve", Phase.STARTING, "starting")
    board.fail("engine", ERROR, again=again)
    state = board.snapshot()
    assert state.stage("install").phase is Phase.READY
    assert state.stage("serve").phase is phase
    assert state.stage("serve").failure == to_failure(ERROR, Redactor())
    assert (state.failure is None) == again


def test_a_ready_component_that_fails_is_not_shown_as_ready(board: StateStore) -> None:
    """A crash after readiness is marked on the last stage."""
    for name in ("install", "serve"):
        board.stage(name, Phase.READY, "fine")
    board.fail("engine", ERROR, again=True)
    assert board.snapshot().component("engine") is Phase.BACKOFF


def test_a_new_start_clears_the_failure(board: StateStore) -> None:
    """A corrected failure is not reported any more."""
    board.stage("serve", Phase.STARTING, "starting")
    board.fail("engine", ERROR, again=False)
    board.stage("serve", Phase.STARTING, "starting")
    assert board.snapshot().failure is None


def test_a_reset_puts_one_component_back(board: StateStore) -> None:
    """A new life starts from a clean row; the others keep theirs."""
    board.stage("pull", Phase.STARTING, "pulling")
    board.progress("pull", 60, 100)
    board.stage("serve", Phase.READY, "up")
    board.reset("models")
    state = board.snapshot()
    pull = state.stage("pull")
    assert (pull.phase, pull.detail, pull.progress) == (Phase.WAITING, "", None)
    assert state.stage("serve").phase is Phase.READY


def test_facts_of_one_model_leave_the_others_alone(board: StateStore) -> None:
    """Each wanted model has its own line."""
    board.models([ModelState(name="a"), ModelState(name="b")])
    board.model("b", phase=Phase.READY, size_bytes=7)
    first, second = board.snapshot().models
    assert first == ModelState(name="a")
    assert (second.phase, second.size_bytes) == (Phase.READY, 7)


def test_each_part_takes_back_its_own_warnings_only(board: StateStore) -> None:
    """An engine restart keeps the warnings of other components."""
    board.warn("engine", "No GPU.", "Old driver.")
    board.warn("metrics", "The port is taken.")
    board.warn("engine", "Old driver.")
    warnings = board.snapshot().warnings
    assert sorted(warnings) == ["Old driver.", "The port is taken."]
    board.warn("metrics")
    assert board.snapshot().warnings == ("Old driver.",)


async def test_every_follower_learns_of_a_change(board: StateStore) -> None:
    """One change wakes all that wait; the next wait is for the next change."""
    waits = [asyncio.create_task(board.wait_change()) for _ in range(2)]
    await asyncio.sleep(0)
    board.update(url="https://x.example")
    async with asyncio.timeout(scaled(1)):
        await asyncio.gather(*waits)
    again = asyncio.create_task(board.wait_change())
    await asyncio.sleep(0)
    assert not again.done()
    board.update(url="")
    await again


def test_a_failure_carries_no_secret() -> None:
    """A library's message may quote the token that it was given."""
    board = StateStore(State(), redact=Redactor(["token-of-somebody"]))
    error = EngineFailed(
        "No token-of-somebody.", "Wait.", log_tail=["token-of-somebody"]
    )
    board.fail("engine", error, again=False)
    assert "token-of-somebody" not in repr(board.snapshot())


def test_each_transition_is_reported_once_with_its_error(board: StateStore) -> None:
    """Whoever writes down what happened misses nothing and repeats nothing."""
    reported: list[tuple[Phase, str]] = []
    board.on_event = lambda event, failure, _after_s: reported.append(
        (event.phase, failure.remedy if failure else "")
    )
    board.stage("serve", Phase.STARTING, "starting")
    board.stage("serve", Phase.STARTING, "starting")
    board.fail("engine", ERROR, again=True)
    board.stage("serve", Phase.READY)
    assert reported == [
        (Phase.STARTING, ""),
        (Phase.BACKOFF, "Wait."),
        (Phase.READY, ""),
    ]
