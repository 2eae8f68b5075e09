"""What led to what: the board's transitions as events with their cause."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ..protocol.event_log import TRANSITIONED, EventLog
from ..protocol.state import COMPONENTS, STAGES, Event, Failure, Phase

_NEEDS: Final = {"models": "engine", "tunnel": "gateway"}
"""What a component falls with."""
_OF_STAGE: Final = dict(STAGES)
_TROUBLE: Final = (Phase.BACKOFF, Phase.FAILED)


@dataclass(slots=True)
class _ComponentTrace:
    """The events of one component, each the cause of the next."""

    last: int = 0
    """Number of the last event."""
    began: float | None = None
    """When it left its rest; None while it is as it should be."""
    is_mending: bool = False
    """Whether it fell, other than on its first way up."""
    was_ready: bool = False


class EventCorrelator:
    """Follows the board and tells the recorder each transition with its cause.

    A component on its way is led from event to event. One that is at rest and
    moves does so because of what it needs, or of what a kernel asked for; one that
    falls by itself has no cause but its own error.
    """

    def __init__(
        self, recorder: EventLog, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._recorder, self._clock = recorder, clock
        self._chains = {component: _ComponentTrace() for component in COMPONENTS}
        self._phases = {stage: Phase.WAITING for stage, _ in STAGES}

    def __call__(self, event: Event, failure: Failure | None) -> None:
        """Take a transition."""
        chain = self._chains[event.component]
        is_trouble = event.phase in _TROUBLE
        because = self._because(event.component, chain, is_trouble=is_trouble)
        self._phases[event.stage] = event.phase
        is_done = self._is_whole(event.component)
        after_s = None
        if chain.began is None:
            chain.began = self._clock()
        elif is_done:
            after_s = self._clock() - chain.began
        chain.last = self._recorder.record(
            event.component,
            TRANSITIONED,
            event.text,
            step=(event.stage, event.phase.value),
            because=because,
            failure=failure,
            after_s=after_s,
        )
        if is_trouble and chain.was_ready and not chain.is_mending:
            chain.is_mending = True
            self._tell_gateway(event.component, "holds requests until the engine is up")
        if is_done:
            chain.began, chain.was_ready = None, True
            if chain.is_mending:
                chain.is_mending = False
                self._tell_gateway(event.component, "passes requests on again")

    def _is_whole(self, component: str) -> bool:
        own = [phase for s, phase in self._phases.items() if _OF_STAGE[s] == component]
        return all(phase in (Phase.READY, Phase.OFF) for phase in own)

    def _because(self, name: str, chain: _ComponentTrace, *, is_trouble: bool) -> int:
        if chain.began is not None:
            return chain.last
        needed = self._chains[_NEEDS[name]] if name in _NEEDS else _ComponentTrace()
        if is_trouble:
            return needed.last if needed.began is not None else 0
        cause = max(needed.last, self._recorder.last_call)
        return cause if cause > chain.last else 0

    def _tell_gateway(self, component: str, text: str) -> None:
        """Say what an engine's fall and return mean for those who call it."""
        if component == "engine":
            because = self._chains[component].last
            self._recorder.record("gateway", TRANSITIONED, text, because=because)
