"""Runner of the checks: concurrent, each with a time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Thread

from ..errors import AvocadoError
from ..protocol.finding import Finding, broken, ok, unknown
from .context import DoctorContext


@dataclass(frozen=True, slots=True)
class Check:
    """One row in the table of checks.

    Attributes:
        name: Shown to the user, and the key in a report.
        run: Returns a finding without a name; it may block and raise.
        is_remote: Whether it calls a remote host, which has its own time limit.
        needs_tunnel: Whether there is nothing to check with ``--local``.
        timeout_remedy: Makes a timeout a broken finding with this remedy; empty leaves
            it unknown.
    """

    name: str
    run: Callable[[DoctorContext], Finding]
    is_remote: bool = False
    needs_tunnel: bool = False
    timeout_remedy: str = ""


def run_checks(context: DoctorContext, checks: Sequence[Check]) -> tuple[Finding, ...]:
    """Return a finding for each check, in their order, within the time limits.

    Threads of checks that hang are left behind, so the process must end soon.
    """
    found: dict[str, Finding] = {}

    def run(check: Check) -> None:
        found[check.name] = replace(_run_check(check, context), name=check.name)

    began = time.monotonic()
    threads = [Thread(target=run, args=(check,), daemon=True) for check in checks]
    for thread in threads:
        thread.start()
    timeouts = context.timeouts
    for check, thread in zip(checks, threads, strict=True):
        limit_s = timeouts.diagnosis_check_s
        if check.is_remote:
            limit_s = timeouts.diagnosis_host_s
        thread.join(max(0.0, began + limit_s - time.monotonic()))
        late = replace(_timed_out(check, limit_s), name=check.name)
        found.setdefault(check.name, late)
    return tuple(found[check.name] for check in checks)


def _run_check(check: Check, context: DoctorContext) -> Finding:
    if check.needs_tunnel and context.settings.local:
        return ok("Not needed: --local opens no tunnel.")
    try:
        return check.run(context)
    except AvocadoError as error:
        return broken(error.problem, error.remedy)
    except Exception as error:  # noqa: BLE001  (it becomes a finding)
        return unknown(
            f"This check failed: {type(error).__name__}: {error}",
            "Please report it: %avocado_doctor --report FILE writes what is needed.",
        )


def _timed_out(check: Check, limit_s: float) -> Finding:
    problem = f"No answer within {limit_s:g} s."
    if check.timeout_remedy:
        return broken(problem, check.timeout_remedy)
    return unknown(problem, "Run %avocado_doctor again when the machine is less busy.")
