"""Follow a host until it is ready, has given up, or nothing moves any more."""

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
from ..errors import DaemonUnreachable, GatewayFailed, error_from_name
from ..protocol.state import Phase, State
from .control_client import ControlClient
from .launch import candidate_state_folders, find_daemon
from .outcome import Failed, TimedOut

StateCallback = Callable[[State], None]


def wait_until_ready(
    connection: ControlClient, show: StateCallback, policy: Timeouts, *, after: int = 0
) -> State | Failed | TimedOut:
    """Show every state until all wanted is ready, given up, or stalled.

    Raises:
        DaemonUnreachable: If the host ends meanwhile, or falls silent.
    """
    best, moved_at = (-1, -1), time.monotonic()
    for state in connection.follow(after):
        show(state)
        failure = state.failure
        if failure is not None:
            return Failed(
                error=error_from_name(
                    failure.kind, failure.problem, failure.remedy, failure.log_tail
                )
            )
        if state.is_ready:
            return state
        mark = _how_far(state)
        if mark > best:
            best, moved_at = mark, time.monotonic()
        elif time.monotonic() - moved_at > policy.stalled_s:
            return TimedOut(state=state, waiting_for=_unfinished(state))
    raise DaemonUnreachable(
        "The background process ended while this cell was waiting for it.",
        "Run %avocado_up again; if it ends again, its log tells why.",
    )


def check_health(state: State, policy: Timeouts) -> None:
    """Make the kernel's own first call to the service, through the gateway.

    Raises:
        GatewayFailed: If it does not answer within the policy's bound.
    """
    session = requests.Session()
    # A proxy of the environment knows nothing of this machine's loopback.
    session.trust_env = False
    tries = Retrying(
        retry=retry_if_exception_type(requests.RequestException),
        stop=stop_after_delay(policy.request_s),
        wait=wait_random_exponential(multiplier=0.05, max=2.0),
        reraise=True,
    )
    with session:
        try:
            tries(_get_tags, session, state, policy)
        except requests.RequestException as error:
            raise GatewayFailed(
                "The service says that it is ready, but does not answer this kernel.",
                "Run %avocado_status, then %avocado_up --restart.",
            ) from error


def _get_tags(session: requests.Session, state: State, policy: Timeouts) -> None:
    headers = {"Authorization": f"Bearer {state.api_key}"} if state.api_key else {}
    session.get(
        f"{state.local_url}/api/tags", headers=headers, timeout=policy.request_s
    ).raise_for_status()


def _how_far(state: State) -> tuple[int, int]:
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
    """Yield the state of the running service now, and whenever something changes.

    At least once a second; it ends when the service does. Nothing where none runs.

    Args:
        rehearse: Whether only a rehearsal is meant.

    Raises:
        AvocadoError: If a host runs but does not answer.
    """
    for folder in candidate_state_folders(rehearse=rehearse):
        host = find_daemon(folder)
        if host is not None:
            # What happened before is of no use here, so it is not asked for.
            yield from host.follow(after=host.state().sequence)
            return
