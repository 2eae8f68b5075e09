"""Observable state of the daemon, and its transitions in the event log."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, Final

from ..errors import AvocadoError
from ..protocol.event_log import TRANSITIONED, EventLog
from ..protocol.state import (
    STAGES,
    Event,
    Failure,
    ModelState,
    Phase,
    Progress,
    Stage,
    State,
)
from ..system.redaction import Redactor

EVENTS_KEPT: Final = 1000
_RATE_WINDOW_S: Final = 5.0
_RUNNING: Final = (Phase.STARTING, Phase.BACKOFF)
_FALLEN: Final = (Phase.BACKOFF, Phase.FAILED)


@dataclass(slots=True)
class _Timer:
    """Seconds that a stage took, or has taken so far."""

    began: float | None = None
    took_s: float = 0.0

    def enter(self, phase: Phase, now: float) -> None:
        if phase in _RUNNING and self.began is None:
            self.began = now
        elif phase not in _RUNNING and self.began is not None:
            self.took_s, self.began = now - self.began, None

    def elapsed_s(self, now: float) -> float:
        return self.took_s if self.began is None else now - self.began


@dataclass(slots=True)
class RateMeter:
    """Average rate over the last 5 s, from running totals."""

    samples: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, at_s: float, done_bytes: int) -> None:
        """Add a sample: a time in seconds and a total in bytes."""
        self.samples.append((at_s, done_bytes))

    def rate(self, at_s: float) -> float:
        """Return the average rate in bytes per second; it decays without new bytes."""
        while len(self.samples) > 1 and at_s - self.samples[1][0] >= _RATE_WINDOW_S:
            self.samples.popleft()
        if not self.samples:
            return 0.0
        first_s, first_bytes = self.samples[0]
        gained = self.samples[-1][1] - first_bytes
        return max(0.0, gained / (at_s - first_s)) if at_s > first_s else 0.0


class StateStore:
    """The daemon's state and its last events; one writer, many followers."""

    def __init__(
        self,
        state: State,
        *,
        redact: Redactor | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._redact = redact or Redactor()
        self._clock = clock
        self._began = clock()
        self._warnings: dict[str, tuple[str, ...]] = {}
        self._stages = {name: Stage(name=name, component=c) for name, c in STAGES}
        self._timers = {name: _Timer() for name, _ in STAGES}
        self._rates: dict[str, RateMeter] = {}
        self._state = state
        self._changed = asyncio.Event()
        self.version = 0
        """Increases with every change, progress and counts included."""
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self.ends_at: float | None = None
        self.live_fields: Callable[[], dict[str, Any]] = dict
        """Return fields that change all the time, for each snapshot.

        Its ``warnings`` are added to the others.
        """
        self.on_event: Callable[[Event, Failure | None, float | None], None] = (
            lambda *_: None
        )
        """Called with each transition, its error, and the seconds to become ready."""

    @property
    def sequence(self) -> int:
        """Sequence number of the last event."""
        return self._state.sequence

    def snapshot(self) -> State:
        """Return the state as it is now."""
        now = self._clock()
        stages = tuple(
            replace(
                stage,
                elapsed_s=round(self._timers[name].elapsed_s(now), 3),
                progress=self._progress_now(stage, now),
            )
            for name, stage in self._stages.items()
        )
        facts = self.live_fields()
        warnings = (*self._state.warnings, *facts.pop("warnings", ()))
        return replace(
            self._state,
            **facts,
            warnings=warnings,
            stages=stages,
            uptime_s=round(now - self._began, 3),
            ends_in_s=None if self.ends_at is None else max(0.0, self.ends_at - now),
        )

    def _progress_now(self, stage: Stage, now: float) -> Progress | None:
        """Return a stage's progress with the current rate."""
        if stage.progress is None or stage.name not in self._rates:
            return stage.progress
        return replace(stage.progress, rate_bytes_s=self._rates[stage.name].rate(now))

    async def wait_change(self) -> None:
        """Return after the next change."""
        await self._changed.wait()

    def update(self, **facts: Any) -> None:
        """Set fields of the state, such as ``url`` or ``compute``."""
        self._state = replace(self._state, **facts)
        self._notify()

    def warn(self, part: str, *warnings: str) -> None:
        """Replace the warnings of one part of the daemon."""
        self._warnings[part] = warnings
        self.update(warnings=tuple(chain.from_iterable(self._warnings.values())))

    def stage(
        self,
        name: str,
        phase: Phase,
        detail: str | None = None,
        *,
        failure: Failure | None = None,
    ) -> None:
        """Move a stage to a phase; a new phase or detail is an event."""
        before = self._stages[name]
        text = before.detail if detail is None else detail
        if (before.phase, before.detail) == (phase, text):
            return
        keeps_progress = phase in (Phase.STARTING, Phase.READY)
        progress = before.progress if keeps_progress else None
        timer = self._timers[name]
        was_running = timer.began is not None
        timer.enter(phase, self._clock())
        after_s = timer.took_s if was_running and phase is Phase.READY else None
        self._stages[name] = replace(
            before, phase=phase, detail=text, progress=progress, failure=failure
        )
        self._record(name, phase, text, after_s)

    def progress(self, name: str, done_bytes: int, total_bytes: int) -> None:
        """Set the progress of a stage's download; it never decreases."""
        before = self._stages[name].progress
        if before is not None and before.total_bytes == total_bytes:
            done_bytes = max(done_bytes, before.done_bytes)
        self._rates.setdefault(name, RateMeter()).add(self._clock(), done_bytes)
        progress = Progress(done_bytes=done_bytes, total_bytes=total_bytes)
        self._stages[name] = replace(self._stages[name], progress=progress)
        self._notify()

    def fail(self, component: str, error: AvocadoError, *, again: bool) -> None:
        """Set a component's unfinished stage to failed, or to backoff if ``again``."""
        phase = Phase.BACKOFF if again else Phase.FAILED
        failure = to_failure(error, self._redact)
        own = [s for s in self._stages.values() if s.component == component]
        unfinished = [s for s in own if s.phase not in (Phase.READY, Phase.OFF)]
        running = [s for s in unfinished if s.phase is not Phase.WAITING]
        name = (running or unfinished or own[-1:])[-1].name
        self.stage(name, phase, failure.problem, failure=failure)
        self._stages[name] = replace(self._stages[name], failure=failure)
        self._notify()

    def reset(self, component: str) -> None:
        """Set a component's stages to waiting, before it runs again."""
        for name, stage in list(self._stages.items()):
            if stage.component == component and stage.phase is not Phase.WAITING:
                self._rates.pop(name, None)
                self.stage(name, Phase.WAITING, "")

    def models(self, models: Iterable[ModelState]) -> None:
        """Replace the list of requested models."""
        self.update(models=tuple(models))

    def model(self, name: str, **facts: Any) -> None:
        """Set fields of one requested model."""
        models = tuple(
            replace(model, **facts) if model.name == name else model
            for model in self._state.models
        )
        if models != self._state.models:
            self.models(models)

    def _record(
        self, name: str, phase: Phase, text: str, after_s: float | None
    ) -> None:
        sequence = self._state.sequence + 1
        self._state = replace(self._state, sequence=sequence)
        event = Event(
            sequence=sequence,
            at_s=time.time(),
            component=self._stages[name].component,
            stage=name,
            phase=phase,
            text=text,
        )
        self.events.append(event)
        self.on_event(event, self._stages[name].failure, after_s)
        self._notify()

    def _notify(self) -> None:
        self.version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class TransitionRecorder:
    """A subscriber that writes each transition to the event log.

    It also records what a fall and return of the engine mean for requests.
    """

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._engine_was_ready = self._is_holding = False

    def __call__(
        self, event: Event, failure: Failure | None, after_s: float | None
    ) -> None:
        """Write a transition; when a stage becomes ready, with the seconds it took."""
        self._log.record(
            event.component,
            TRANSITIONED,
            event.text,
            step=(event.stage, event.phase.value),
            failure=failure,
            after_s=after_s,
        )
        if event.stage == "serve":
            self._record_requests(event.phase)

    def _record_requests(self, phase: Phase) -> None:
        if phase is Phase.READY:
            self._engine_was_ready = True
            if self._is_holding:
                self._is_holding = False
                self._log.record("gateway", TRANSITIONED, "forwards requests again")
        elif phase in _FALLEN and self._engine_was_ready and not self._is_holding:
            self._is_holding = True
            text = "holds requests until the engine is up"
            self._log.record("gateway", TRANSITIONED, text)


def to_failure(error: AvocadoError, redact: Redactor) -> Failure:
    """Return an error in the form that crosses processes, without secrets.

    An error may repeat a library's message, which may quote a secret.
    """
    return Failure(
        kind=type(error).__name__,
        problem=redact(error.problem),
        remedy=redact(error.remedy),
        log_tail=tuple(redact(line) for line in error.log_tail),
    )
