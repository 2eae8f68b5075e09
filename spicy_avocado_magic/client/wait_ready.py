"""Follow the daemon's state until the service is ready, or for as long as it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import requests
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from ..config.timeouts import Timeouts
from ..errors import DaemonUnreachable, GatewayFailed, StartTimeout, error_from_name
from ..formatting import format_duration
from ..protocol.state import Phase, State
from .control_client import ControlClient
from .launch import candidate_state_folders, find_daemon

StateCallback = Callable[[State], None]


def wait_until_ready(
    daemon: ControlClient, show: StateCallback, timeouts: Timeouts
) -> State:
    """Return the state as soon as all is ready; each state before it is shown.

    Raises:
        StartTimeout: If nothing progresses for ``stalled_s``; the daemon keeps trying.
        DaemonUnreachable: If the daemon ends meanwhile, or does not answer.
        AvocadoError: The error for which the daemon gave up.
    """
    best, progress_at_s = (-1, -1), time.monotonic()
    for state in daemon.follow():
        show(state)
        if failure := state.failure:
            raise error_from_name(
                failure.kind, failure.problem, failure.remedy, failure.log_tail
            )
        if state.is_ready:
            return state
        progress = _progress(state)
        if progress > best:
            best, progress_at_s = progress, time.monotonic()
        elif time.monotonic() - progress_at_s > timeouts.stalled_s:
            raise StartTimeout(
                f"No progress for {format_duration(timeouts.stalled_s)} "
                f"({_unfinished(state)}); the background process keeps trying.",
                "Check it with %avocado_status, or stop it with %avocado_down.",
            )
    raise DaemonUnreachable(
        "The background process ended while this cell was waiting for it.",
        "Run %avocado_up again; if it ends again, %avocado_logs host shows why.",
    )


def check_health(state: State, timeouts: Timeouts) -> None:
    """Send a first request from this kernel to the service, through the gateway.

    Raises:
        GatewayFailed: If it does not answer within ``request_s``.
    """
    session = requests.Session()
    session.trust_env = False  # a proxy cannot reach this machine's loopback
    tries = Retrying(
        retry=retry_if_exception_type(requests.RequestException),
        stop=stop_after_delay(timeouts.request_s),
        wait=wait_random_exponential(multiplier=0.05, max=2.0),
        reraise=True,
    )
    with session:
        try:
            tries(_get_tags, session, state, timeouts)
        except requests.RequestException as error:
            raise GatewayFailed(
                "The service is ready, but this kernel gets no answer from it.",
                "Run %avocado_status, then %avocado_up --restart.",
            ) from error


def _get_tags(session: requests.Session, state: State, timeouts: Timeouts) -> None:
    headers = {"Authorization": f"Bearer {state.api_key}"} if state.api_key else {}
    session.get(
        f"{state.local_url}/api/tags", headers=headers, timeout=timeouts.request_s
    ).raise_for_status()


def _progress(state: State) -> tuple[int, int]:
    ready = sum(stage.phase is Phase.READY for stage in state.stages)
    ready += sum(model.phase is Phase.READY for model in state.models)
    done_bytes = sum(s.progress.done_bytes for s in state.stages if s.progress)
    return ready, done_bytes


def _unfinished(state: State) -> str:
    left = [s for s in state.stages if s.phase not in (Phase.READY, Phase.OFF)]
    return "; ".join(
        f"{s.name}: {s.failure.problem.rstrip('.')}" if s.failure else s.name
        for s in left
    )


def watch(*, rehearse: bool) -> Iterator[State]:
    """Yield the state of the running service now and after each change.

    At least once a second, until the service ends; nothing if none runs.

    Args:
        rehearse: Whether to look for a rehearsal only.

    Raises:
        AvocadoError: If the background process runs but does not answer.
    """
    for folder in candidate_state_folders(rehearse=rehearse):
        daemon = find_daemon(folder)
        if daemon is not None:
            yield from daemon.follow(after=daemon.state().sequence)
            return
