"""What led to what, from the board's transitions."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spicy_avocado_magic.daemon.event_causes import EventCorrelator
from spicy_avocado_magic.daemon.state_store import StateStore
from spicy_avocado_magic.errors import EngineFailed, TunnelFailed
from spicy_avocado_magic.protocol.event_log import (
    REQUESTED,
    STARTED,
    EventLog,
    EventRecord,
    read_tail,
)
from spicy_avocado_magic.protocol.state import Phase, State
from spicy_avocado_magic.system.redaction import Redactor


@dataclass
class Bench:
    """A board whose transitions are recorded, by a clock that a test moves."""

    folder: Path
    now: float = 0.0
    board: StateStore = field(init=False)

    def __post_init__(self) -> None:
        self.recorder = EventLog(self.folder / "flight.log", Redactor())
        self.board = StateStore(State())
        self.board.on_event = EventCorrelator(self.recorder, clock=lambda: self.now)

    def entries(self) -> list[EventRecord]:
        """Return all that was recorded."""
        return list(read_tail(self.folder, 1000))

    def cause(self, entry: EventRecord) -> EventRecord | None:
        """Return the event that led to one."""
        return next((e for e in self.entries() if e.number == entry.because), None)

    def bring_up(self) -> None:
        """Start as a host does."""
        self.recorder.record("host", STARTED)
        stages = ("gateway", "install", "serve", "pull", "warm", "tunnel", "probe")
        for stage in stages:
            self.board.stage(stage, Phase.STARTING, "begins")
            self.board.stage(stage, Phase.READY, "is there")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A host that is whole."""
    made = Bench(tmp_path)
    made.bring_up()
    return made


def test_a_start_follows_from_the_host(bench: Bench) -> None:
    """What needs nothing is because of the start, the rest of what it needs."""
    first, *rest = bench.entries()
    begun = [e for e in rest if e.because == first.number]
    assert {e.component for e in begun} == {"gateway", "engine"}
    for entry in rest:
        cause = bench.cause(entry)
        assert cause is not None, f"nothing led to {entry}"
        assert cause.component in ("host", "engine", "gateway", entry.component)


def test_an_engine_that_dies_is_a_chain_from_its_exit_to_ready(bench: Bench) -> None:
    """Exit, requests held, started again, ready after so long, requests go on."""
    before = len(bench.entries())
    error = EngineFailed("The engine ended by itself (signal 9).", "Wait.")
    bench.now = 100.0
    bench.board.fail("engine", error, again=True)
    bench.board.stage("serve", Phase.STARTING, "starting the engine")
    bench.now = 100.8
    bench.board.stage("serve", Phase.READY, "Ollama on CPU")
    fell, held, starts, ready, passes = bench.entries()[before:]
    assert (fell.error, fell.because) == ("EngineFailed", 0), "it has no other cause"
    assert "signal 9" in fell.text
    assert fell.remedy == "Wait."
    assert (held.component, held.because) == ("gateway", fell.number)
    assert "holds" in held.text
    assert (starts.phase, starts.because) == ("starting", fell.number)
    assert (ready.phase, ready.because, ready.after_s) == ("ready", starts.number, 0.8)
    assert starts.after_s is None, "it is told to be ready too soon"
    assert (passes.component, passes.because) == ("gateway", ready.number)
    bench.board.stage("warm", Phase.STARTING, "loading tiny")
    models = bench.entries()[-1]
    assert models.because == ready.number, "the models load because the engine is back"


def test_what_falls_with_the_gateway_is_because_of_it(bench: Bench) -> None:
    """A dependent's error is told with what it depends on."""
    error = TunnelFailed("It fell.", "Wait.")
    bench.board.stage("gateway", Phase.BACKOFF, "its port is taken")
    gateway = bench.entries()[-1]
    bench.board.fail("tunnel", error, again=True)
    assert bench.entries()[-1].because == gateway.number


def test_a_tunnel_that_falls_by_itself_has_no_cause_and_holds_nothing(
    bench: Bench,
) -> None:
    """Only the engine's fall makes the gateway hold requests."""
    count = len(bench.entries())
    bench.board.fail("tunnel", TunnelFailed("It fell.", "Wait."), again=True)
    (fell,) = bench.entries()[count:]
    assert fell.because == 0


def test_what_a_call_changes_is_because_of_the_call(bench: Bench) -> None:
    """Another domain: the tunnel's new life follows from the `up`."""
    called = bench.recorder.record("host", REQUESTED, "up: domain")
    bench.board.reset("tunnel")
    bench.board.stage("tunnel", Phase.STARTING, "connecting")
    reset, *rest = bench.entries()[called:]
    assert reset.because == called
    assert rest[-1].because == rest[-2].number, "the life is no chain"


def test_a_component_is_ready_when_its_last_stage_is_whichever_that_is(
    bench: Bench,
) -> None:
    """Models that are warm before the pull is told to be done are not ready yet."""
    called = bench.recorder.record("host", REQUESTED, "up: models")
    bench.board.stage("pull", Phase.STARTING, "fetching")
    bench.board.stage("warm", Phase.STARTING, "loading")
    bench.now = 2.0
    bench.board.stage("warm", Phase.READY, "on the GPU")
    bench.board.stage("pull", Phase.READY, "fetched")
    pull, _, warm, done = bench.entries()[called:]
    assert pull.because == called
    assert (warm.after_s, done.after_s) == (None, 2.0)
    assert done.because == warm.number
