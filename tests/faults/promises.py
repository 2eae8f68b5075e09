"""The four promises, checked for every fault by the same code."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import psutil

from spicy_avocado_magic import down
from spicy_avocado_magic.protocol.state import Phase, State
from tests.machine_speed import scaled

from .callers import BROKEN, Call, Callers, Verdict
from .service import Service
from .watching import texts

_NOISE_S: Final = scaled(1.0)
"""A start is measured once and varies with other load on the cores: this much is
granted on top of 1.5 times of it."""
_END_S: Final = scaled(5.0)
"""An end takes no longer."""


def whole_again(service: Service, since: float, bound_s: float) -> float:
    """Promise 1: return when all is ready and a chat through the public URL works."""
    began = time.monotonic()
    service.watch.first(
        _is_whole,
        since=since,
        within_s=max(0.1, since + bound_s - began),
        description="whole",
    )
    while True:
        call = _one_call(service)
        if call.verdict is Verdict.WHOLE:
            return call.ended
        assert time.monotonic() - since < bound_s, f"ready, but a chat: {call.detail}"


def killed_and_whole(service: Service, pid: int, bound_s: float) -> float:
    """Kill a process of a service, and return the seconds until all is whole."""
    service.kill(pid)
    fallen_at = service.watch.first(
        lambda state: not state.is_ready,
        since=service.broken_at,
        within_s=bound_s,
        description="it fell",
    )
    return whole_again(service, fallen_at, bound_s) - service.broken_at


def nobody_waits_in_vain(service: Service) -> None:
    """Require an error at once for a request to an engine that was given up."""
    call = _one_call(service)
    assert call.verdict is Verdict.CLEAR_ERROR, f"given up, but a chat: {call.detail}"
    took_s, held_s = call.ended - call.began, service.timeouts.hold_wait_s
    assert took_s < held_s / 2, f"given up, and a chat waited for {took_s:.2f} s"


def _one_call(service: Service) -> Call:
    state = service.state()
    callers = Callers(
        state.url,
        state.api_key,
        "tiny",
        is_stand_in=service.is_stand_in,
        silence_limit_s=scaled(5.0),
    )
    return callers.all[0].call()


def bare_start_s(state: State, part: str) -> float:
    """Return how long the first start of a component took, which nothing delayed."""
    own = [s for s in state.stages if s.component == part]
    if part == "engine":
        own = [state.stage("serve"), state.stage("warm")]
    return sum(stage.elapsed_s for stage in own)


def _is_whole(state: State) -> bool:
    return state.is_ready and bool(state.url)


def recovered_in_time(service: Service, since: float, bare_s: float) -> None:
    """Recovery after detection takes at most 1.5 times a bare start.

    Until all is ready: the chat that proves it waits for its turn among the callers.
    """
    ready_at = service.watch.first(
        _is_whole, since=since, within_s=scaled(1.0), description="ready"
    )
    recovery_s = ready_at - since
    most_s = 1.5 * bare_s + _NOISE_S
    assert recovery_s <= most_s, (
        f"recovered in {recovery_s:.2f} s; a bare start takes {bare_s:.2f} s, "
        f"so at most {most_s:.2f} s was promised"
    )


def same_as_before(before: State, after: State, *, has_new_url: bool) -> None:
    """Promise 2: URL, key and models are what they were."""
    if has_new_url:
        assert after.url, "there is no URL any more"
    else:
        assert after.url == before.url, "the URL has changed"
    assert after.api_key == before.api_key, "the key has changed"
    names = [model.name for model in before.models]
    assert [model.name for model in after.models] == names, "the models have changed"


def nothing_false(calls: Sequence[Call], *, keeps_all: bool) -> int:
    """Promise 3: each request was answered, or failed clearly; return the latter."""
    broken = [call for call in calls if call.verdict in BROKEN]
    assert not broken, f"{len(broken)} requests, such as: {_shown(broken[0])}"
    lost = [call for call in calls if call.verdict is not Verdict.WHOLE]
    assert not (lost and keeps_all), f"{len(lost)} were lost: {_shown(lost[0])}"
    return len(lost)


def _shown(call: Call) -> str:
    return f"{call.verdict}; {call.detail}"


def nothing_left(service: Service) -> None:
    """Promise 4: after the end no process, port, file or session is left."""
    state = service.avocado.status()
    ports = ports_of(service, state)
    began = time.monotonic()
    down()
    took_s = time.monotonic() - began
    assert took_s <= _END_S, f"the end took {took_s:.1f} s"
    _prove_nothing_left(service, ports, within_s=_END_S)


def ended_by_itself(service: Service, ports: Sequence[int], bound_s: float) -> float:
    """Promise 4 where nobody runs ``down``: return after how many seconds it ended.

    Whoever brought it up has ended as well, so no process of the home may be left.
    """
    left_s = service.broken_at + bound_s - time.monotonic()
    _prove_nothing_left(service, ports, within_s=left_s)
    return time.monotonic() - service.broken_at


def _prove_nothing_left(
    service: Service, ports: Sequence[int], *, within_s: float
) -> None:
    left = service.home.wait_no_processes(within_s)
    assert not left, f"processes are left: {left}"
    # No process of ours is left, so whoever has a pid there is another program.
    now = _listening()
    still = [port for port in ports if port in now and not _is_another(now[port])]
    assert not still, f"ports are still open: {still}"
    logs = set(service.folder.logs)
    files = [
        str(file.relative_to(service.home.path))
        for folder in service.home.state_folders
        if folder.exists()
        for file in folder.rglob("*")
        if file.name != service.folder.lock.name and file not in logs
    ]
    files += [str(file) for file in service.home.path.rglob("*.part")]
    assert not files, f"files are left: {files}"
    assert not service.world.sessions(), "sessions are left at the edge"


def ports_of(service: Service, state: State | None) -> list[int]:
    """Return every port on which something of the service listens."""
    ports = {urlsplit(state.local_url).port or 0} if state else set()
    own = {process.pid for process in service.home.processes()}
    ports |= {port for port, pid in _listening().items() if pid in own}
    return sorted(ports - {0})


def _listening() -> dict[int, int | None]:
    """Return all ports that are listened on, with the pid where it is known."""
    return {
        connection.laddr[1]: connection.pid
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr
    }


def _is_another(pid: int | None) -> bool:
    """Whether a program of somebody else has taken a port that we let go."""
    return pid is not None and pid != os.getpid()


def user_sees(service: Service, expected: Sequence[str], within_s: float) -> None:
    """Require that the user was shown these texts."""
    for text in expected:
        service.watch.first(
            lambda state, text=text: any(text in shown for shown in texts(state)),  # type: ignore[misc]
            since=service.broken_at,
            within_s=within_s,
            description=f"the user is not shown {text!r}",
        )


def stayed_up(service: Service, since: float) -> None:
    """Nothing fell: what only looks broken is left alone."""
    for state in service.watch.since(since):
        fallen = [s.name for s in state.stages if s.phase is not Phase.READY]
        assert not fallen, f"it was not left alone: {fallen} fell"
