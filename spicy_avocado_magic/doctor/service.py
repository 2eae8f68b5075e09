"""The service that runs: what its host says of itself."""

from __future__ import annotations

from ..client.launch import state_of
from ..protocol.finding import Finding, broken, ok, warning
from ..protocol.state import COMPONENTS, Phase, State
from .context import DoctorContext


def read_state(case: DoctorContext) -> State | None:
    """Return the host's state; None if none runs.

    Raises:
        DaemonUnreachable: If it lives and does not answer.
        VersionMismatch: If it was started by another version of the package.
    """
    return None if case.folder is None else state_of(case.folder)


def check_service(case: DoctorContext) -> Finding:
    """Tell what is wrong with the service that runs, if one does.

    Raises:
        DaemonUnreachable: If it lives and does not answer.
        VersionMismatch: If it was started by another version of the package.
    """
    state = read_state(case)
    return ok("service", "None is running.") if state is None else worst_finding(state)


def worst_finding(state: State) -> Finding:
    """Return the worst that a host's state tells."""
    if state.failure is not None:
        return broken("service", state.failure.problem, state.failure.remedy)
    falling = [name for name in COMPONENTS if state.component(name) is Phase.BACKOFF]
    if falling:
        what = f"It is being mended: {', '.join(falling)} fell."
        why = next((s.failure for s in state.stages if s.failure is not None), None)
        if why is not None:
            what += f" {why.problem}"
        remedy = why.remedy if why is not None else "Wait; %avocado_status tells."
        return warning("service", what, remedy)
    if not state.is_ready:
        what = "It is being started."
        return warning("service", what, "Wait; %avocado_status tells how far it is.")
    slow = [m.name for m in state.models if m.memory_bytes and not m.gpu_bytes]
    if slow and state.compute not in ("", "CPU"):
        what = f"{', '.join(slow)} is on the CPU, though there is {state.compute}."
        remedy = "Take a smaller model or context, or end what else uses the GPU."
        return warning("service", what, remedy)
    if state.warnings:
        remedy = "See %avocado_status."
        return warning("service", " ".join(state.warnings), remedy)
    return ok("service", "It runs and all of it is ready.")
