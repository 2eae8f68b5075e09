"""Transitions in the event log."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spicy_avocado_magic.daemon.state_store import StateStore, TransitionRecorder
from spicy_avocado_magic.errors import EngineFailed, TunnelFailed
from spicy_avocado_magic.protocol.event_log import EventLog, EventRecord, read_tail
from spicy_avocado_magic.protocol.state import Phase, State
from spicy_avocado_magic.system.redaction import Redactor


@dataclass
class Bench:
    """A state store with recorded transitions and a settable clock."""

    folder: Path
    now: float = 0.0
    board: StateStore = field(init=False)

    def __post_init__(self) -> None:
        log = EventLog(self.folder / "flight.log", Redactor())
        self.board = StateStore(State(), clock=lambda: self.now)
        self.board.on_event = TransitionRecorder(log)

    def records(self) -> list[EventRecord]:
        """Return every record."""
        return list(read_tail(self.folder, 1000))

    def bring_up(self) -> None:
        """Bring every stage up, as a daemon does."""
        for stage in ("gateway", "install", "serve", "pull", "warm", "tunnel", "probe"):
            self.board.stage(stage, Phase.STARTING, "begins")
            self.board.stage(stage, Phase.READY, "is there")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a bench with all components ready."""
    made = Bench(tmp_path)
    made.bring_up()
    return made


def test_a_dead_engine_is_recorded_from_its_exit_to_ready(bench: Bench) -> None:
    """Exit, requests held, started again, ready after 0.8 s, requests forwarded."""
    before = len(bench.records())
    error = EngineFailed("The engine ended by itself (signal 9).", "Wait.")
    bench.now = 100.0
    bench.board.fail("engine", error, again=True)
    bench.board.stage("serve", Phase.STARTING, "starting the engine")
    bench.now = 100.8
    bench.board.stage("serve", Phase.READY, "Ollama on CPU")
    fell, held, starts, ready, passes = bench.records()[before:]
    assert (fell.error, fell.remedy) == ("EngineFailed", "Wait.")
    assert "signal 9" in fell.text
    assert (held.component, held.text) == (
        "gateway",
        "holds requests until the engine is up",
    )
    assert (starts.phase, starts.after_s) == ("starting", None), "ready too soon"
    assert (ready.phase, ready.after_s) == ("ready", 0.8)
    assert (passes.component, passes.text) == ("gateway", "forwards requests again")


def test_an_engine_that_fails_twice_holds_requests_once(bench: Bench) -> None:
    """The gateway keeps holding them meanwhile."""
    before = len(bench.records())
    for text in ("It died.", "It died again."):
        bench.board.fail("engine", EngineFailed(text, "Wait."), again=True)
    texts = [record.text for record in bench.records()[before:]]
    assert texts == [
        "It died.",
        "holds requests until the engine is up",
        "It died again.",
    ]


def test_a_first_start_that_fails_holds_nothing(tmp_path: Path) -> None:
    """Before the engine was ready, no request was forwarded."""
    bench = Bench(tmp_path)
    bench.board.stage("serve", Phase.STARTING, "starting the engine")
    bench.board.fail("engine", EngineFailed("It died.", "Wait."), again=True)
    assert {record.component for record in bench.records()} == {"engine"}


def test_a_fallen_tunnel_holds_nothing(bench: Bench) -> None:
    """Only the engine's fall makes the gateway hold requests."""
    before = len(bench.records())
    bench.board.fail("tunnel", TunnelFailed("It fell.", "Wait."), again=True)
    (fell,) = bench.records()[before:]
    assert fell.component == "tunnel"


def test_a_stage_that_is_reset_has_no_duration(bench: Bench) -> None:
    """Only a stage that became ready says how long it took."""
    before = len(bench.records())
    bench.board.reset("tunnel")
    assert [r.after_s for r in bench.records()[before:]] == [None, None]
