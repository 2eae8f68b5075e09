"""Run checks side by side; one that hangs or raises is a finding, no more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..config.timeouts import Timeouts
from ..errors import AvocadoError
from ..protocol.finding import Finding, broken, unknown
from .context import DoctorContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that can be wrong.

    Attributes:
        name: As it is shown.
        run: Looks, and tells; it may block and raise.
        is_far: Whether it asks a host out there, which has a bound of its own.
        if_late: What it means if nothing came of it in time; by default unknown.
    """

    name: str
    run: Callable[[DoctorContext], Finding]
    is_remote: bool = False
    timeout_remedy: str = ""


@dataclass(slots=True)
class _Running:
    check: Check
    bound_s: float
    done: threading.Event = field(default_factory=threading.Event)
    finding: Finding | None = None

    def follow(self, case: DoctorContext) -> None:
        self.finding = _judged(self.check, case)
        self.done.set()

    def result(self, left_s: float) -> Finding:
        self.done.wait(max(0.0, left_s))
        return self.finding or _late(self.check, self.bound_s)


def run_checks(case: DoctorContext, checks: Sequence[Check]) -> tuple[Finding, ...]:
    """Return a finding for each check, in their order; no check outlasts its bound.

    Threads of checks that hang are left behind, so the process must end soon.
    """
    began = time.monotonic()
    running = [_Running(check, _bound_s(check, case.policy)) for check in checks]
    for one in running:
        threading.Thread(
            target=one.follow, args=(case,), daemon=True, name=one.check.name
        ).start()
    return tuple(one.result(began + one.bound_s - time.monotonic()) for one in running)


def _bound_s(check: Check, policy: Timeouts) -> float:
    return policy.diagnosis_host_s if check.is_remote else policy.diagnosis_check_s


def _judged(check: Check, case: DoctorContext) -> Finding:
    try:
        return check.run(case)
    except AvocadoError as error:
        return broken(check.name, error.problem, error.remedy)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is told)
        return unknown(
            check.name,
            f"This check failed: {type(error).__name__}: {error}",
            "Please report it: %avocado_doctor --report FILE writes what is needed.",
        )


def _late(check: Check, bound_s: float) -> Finding:
    late = f"No answer within {bound_s:g} s."
    if check.timeout_remedy:
        return broken(check.name, late, check.timeout_remedy)
    return unknown(check.name, late, "Run %avocado_doctor again when less is going on.")
