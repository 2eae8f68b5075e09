"""Check of the running service, by the state that its daemon reports."""

from __future__ import annotations

from ..client.launch import state_of
from ..protocol.finding import Finding, broken, ok, warning
from ..protocol.state import COMPONENTS, Phase, State
from .context import DoctorContext


def read_state(context: DoctorContext) -> State | None:
    """Return the daemon's state; None if none is running.

    Raises:
        DaemonUnreachable: If it is running and does not answer.
        VersionMismatch: If it was started by another version of the package.
    """
    return None if context.folder is None else state_of(context.folder)


def check_service(context: DoctorContext) -> Finding:
    """Report the worst problem of the running service.

    Raises:
        DaemonUnreachable: If it is running and does not answer.
        VersionMismatch: If it was started by another version of the package.
    """
    state = read_state(context)
    if state is None:
        return ok("No service is running.")
    return worst_finding(state)


def worst_finding(state: State) -> Finding:
    """Return the worst problem in a state: failures, restarts, then the rest."""
    if state.failure is not None:
        return broken(state.failure.problem, state.failure.remedy)
    restarting = [n for n in COMPONENTS if state.component(n) is Phase.BACKOFF]
    if restarting:
        problem = f"Failed, and being restarted: {', '.join(restarting)}."
        failure = next((s.failure for s in state.stages if s.failure is not None), None)
        if failure is None:
            return warning(problem, "Wait; %avocado_status shows progress.")
        return warning(f"{problem} {failure.problem}", failure.remedy)
    if not state.is_ready:
        return warning("It is being started.", "Wait; %avocado_status shows progress.")
    slow = [m.name for m in state.models if m.memory_bytes and not m.gpu_bytes]
    if slow and state.compute not in ("", "CPU"):
        return warning(
            f"{', '.join(slow)} is on the CPU, although there is {state.compute}.",
            "Choose a smaller model or --context, or end other programs on the GPU.",
        )
    if state.warnings:
        return warning(" ".join(state.warnings), "See %avocado_status.")
    return ok("It is running, and all of its parts are ready.")
