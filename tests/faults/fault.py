"""One row of the matrix: how a running service is broken, and what is promised."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.machine_speed import scaled

if TYPE_CHECKING:
    from spicy_avocado_magic.client.handle import Avocado
    from tests.main_job.home import Home

    from .service import Service

EXIT_S: Final = 0.2
"""An exit is noticed within this time, whatever the policy."""
HANG_S: Final = 20.0
"""A hang is noticed within this time with the product's own time-outs."""
DIVISOR: Final = 20.0
"""By which the product's waits are divided, unless a row says otherwise."""

Act = Callable[["Service"], None]


class Engine(enum.Enum):
    """Which engine a row runs on."""

    STAND_IN = "the stand-in, with faults that can be switched"
    EITHER = "a real Ollama where there is one, else the stand-in"
    REAL = "a real Ollama; skipped where there is none"


def nothing(_service: Service) -> None:
    """Repair nothing: the fault is over by itself."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A row; ``tests/faults/README.md`` explains how to write one.

    Attributes:
        name: As ``--only`` and pytest call it.
        expected: What is promised, in few words.
        breaks: Breaks the service; the clock starts when it is called, or when it
            calls ``service.mark()``.
        bound_s: From the break, or from the repair if there is one, until the
            service is whole again.
        part: The component that is seen to fall; empty if none may.
        detect_s: Longest time from the break until the state shows it; None where
            the issue sets no bound.
        user_sees: Texts that the user must see meanwhile, each by a failure, a stage
            or a warning of the state.
        gives_up: Whether the part must end as ``failed``; ``up`` then tries again.
        repairs: Ends a fault that lasts, after it was noticed, shown and given up.
        brings_up: Brings the service up in place of the matrix itself.
        ends_by_itself: Whether the service must end by itself within the bound.
        keeps_all: Whether every request must be answered.
        has_new_url: Whether the URL cannot be kept.
        note: Why a promise cannot be kept, for the table.
        plays: Breaks, judges and repairs in place of ``breaks``, where it is not a
            component that falls; returns seconds to detect and to recover.
        ends: Whether the right outcome is that the service has ended.
        seen: What was seen, where ``plays`` has judged it.
        prepares: Makes the home a place where this can happen, before the start;
            what it pushes on the stack is undone at the end.
        needs: Returns why the row cannot run on this machine; empty if it can.
        engine: Which engine it needs.
        divisor: Of the policy's waits.
        timeouts: Waits that are other than that.
        is_heavy: Whether it needs the whole machine.
        variables: Set in the environment of the service.
        options: Further options of ``up``.
    """

    name: str
    area: str
    expected: str
    breaks: Act = nothing
    bound_s: float
    part: str = ""
    detect_s: float | None = None
    user_sees: tuple[str, ...] = ()
    gives_up: bool = False
    repairs: Act = nothing
    brings_up: Callable[[Service], Avocado] | None = None
    ends_by_itself: bool = False
    keeps_all: bool = False
    has_new_url: bool = False
    note: str = ""
    plays: Callable[[Service], tuple[float | None, float]] | None = None
    ends: bool = False
    seen: str = ""
    prepares: Callable[[Home, contextlib.ExitStack], None] = lambda *_: None
    needs: Callable[[], str] = str
    engine: Engine = Engine.STAND_IN
    divisor: float = DIVISOR
    timeouts: Mapping[str, float] = field(default_factory=dict)
    is_heavy: bool = False
    variables: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_alone(self) -> bool:
        """Whether no other may run beside it: it measures, or takes all there is."""
        return self.detect_s is not None or self.is_heavy

    @property
    def scaled_bound_s(self) -> float:
        """``bound_s`` on this machine."""
        return scaled(self.bound_s)

    @property
    def scaled_detect_s(self) -> float | None:
        """``detect_s`` on this machine."""
        return None if self.detect_s is None else scaled(self.detect_s)
