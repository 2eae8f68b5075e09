"""Bring a host to what is wanted: launch it, or change the one that runs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, assert_never

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from ..environment import require_supported
from ..errors import AvocadoError, HostUnreachable, Interrupted, StillStarting
from ..options import Wish, parse_flag
from ..policy import Policy
from ..secrets import check_token, find_token, platform_secret
from ..settings import Sources
from ..state import State
from ..state_folder import StateFolder
from .connection import Connection
from .ending import end
from .follow import Show, check_health, follow
from .handle import Avocado
from .launch import dict_of, find_host, launch, sweep
from .outcome import Accepted, Changed, Failed, Launched, Outcome, Reused, TimedOut

REHEARSE_VARIABLE: Final = "AVOCADO_REHEARSE"
REHEARSAL_TOKEN: Final = "rehearsal-token-of-nobody"  # noqa: S105
"""Stands in where a rehearsal was given no token; it opens nothing."""

_ANOTHER_LOOK_S: Final = 0.05


def bring_up(
    wish: Wish,
    *,
    show: Show,
    ask: Callable[[str], str] | None = None,
    sources: Sources | None = None,
    policy: Policy | None = None,
) -> Avocado:
    """Do what ``up`` does for a parsed wish; ``ask`` prompts for a token."""
    require_supported()
    policy = policy or Policy()
    is_rehearsal = wish.rehearse or is_rehearsal_asked_for()
    sources = sources or Sources(rehearsal=is_rehearsal)
    folder = StateFolder.find(rehearsal=sources.rehearsal)
    outcome = _bring_up(folder, wish, show, ask, sources, policy)
    match outcome:
        case Failed(error=error):
            raise error
        case TimedOut(waiting_for=stages):
            raise StillStarting(
                f"Nothing has moved for {policy.stalled_s / 60:.0f} minutes "
                f"({stages}); the background process goes on trying.",
                "Look again with %avocado_status, or give up with %avocado_down.",
            )
        case Launched():
            return Avocado(folder, "launched", is_mine=True)
        case Reused():
            return Avocado(folder, "reused")
        case Changed():
            return Avocado(folder, "changed")
        case Accepted():
            return Avocado(folder, "accepted", is_mine=True)
        case _:
            assert_never(outcome)


def is_rehearsal_asked_for() -> bool:
    """Return whether the environment makes every ``up`` a rehearsal."""
    return parse_flag(os.environ.get(REHEARSE_VARIABLE, "0"))


def _bring_up(
    folder: StateFolder,
    wish: Wish,
    show: Show,
    ask: Callable[[str], str] | None,
    sources: Sources,
    policy: Policy,
) -> Outcome:
    if wish.restart:
        end(folder, policy=policy, keep_wanted=True)
    began = time.monotonic()
    while time.monotonic() - began < policy.launch_s:
        host = find_host(folder)
        if host is not None:
            _await_answer(host, policy)
            return _change(host, folder, wish, show, ask, sources, policy)
        sweep(folder)
        given = _with_token(wish.given, folder, sources, ask)
        host = launch(folder, given, only=wish.only, sources=sources, policy=policy)
        if host is not None:
            return _after(
                host,
                wish,
                show,
                policy,
                done=lambda state: Launched(
                    state=state, seconds=time.monotonic() - began
                ),
                undo=lambda: end(folder, policy=policy, keep_logs=True),
            )
        # Another launch holds the lock, and will be found here in a moment.
        time.sleep(_ANOTHER_LOOK_S)
    raise HostUnreachable(
        "Another launch is under way and does not come to an end.",
        "Run %avocado_down, then %avocado_up.",
    )


def _await_answer(host: Connection, policy: Policy) -> None:
    """Wait for a host that is just being started by somebody else."""
    tries = Retrying(
        retry=retry_if_exception_type(HostUnreachable),
        stop=stop_after_delay(policy.launch_s),
        wait=wait_fixed(_ANOTHER_LOOK_S),
        reraise=True,
    )
    tries(host.state)


def _change(
    host: Connection,
    folder: StateFolder,
    wish: Wish,
    show: Show,
    ask: Callable[[str], str] | None,
    sources: Sources,
    policy: Policy,
) -> Outcome:
    began = time.monotonic()
    given = dict(wish.given)
    opens_tunnel = given.get("local") is False
    if given.get("token") or opens_tunnel:
        given = _with_token(given, folder, sources, ask)
    answer = host.post("/up", given=dict_of(given), only=wish.only)
    changed, number = tuple(answer["changed"]), answer["change"]
    state = host.state()
    if not changed and state.is_ready:
        show(state)
        return Reused(state=state)
    return _after(
        host,
        wish,
        show,
        policy,
        done=lambda state: (
            Changed(state=state, what=changed, seconds=time.monotonic() - began)
            if changed
            else Reused(state=state)
        ),
        undo=lambda: host.post("/withdraw", change=number),
    )


def _after(
    host: Connection,
    wish: Wish,
    show: Show,
    policy: Policy,
    *,
    done: Callable[[State], Outcome],
    undo: Callable[[], object],
) -> Outcome:
    """Follow what was begun; take it back if it fails or is interrupted."""
    if wish.background:
        return Accepted(state=host.state())
    try:
        result = follow(host, show, policy)
        if isinstance(result, State):
            check_health(result, policy)
    except KeyboardInterrupt:
        undo()
        raise Interrupted(
            "Interrupted; what this cell had begun was taken back.",
            "Run %avocado_up again; downloads go on where they were.",
        ) from None
    except AvocadoError:
        undo()
        raise
    if isinstance(result, State):
        return done(result)
    if isinstance(result, Failed):
        undo()
    return result


def _with_token(
    wished: Mapping[str, Any],
    folder: StateFolder,
    sources: Sources,
    ask: Callable[[str], str] | None,
) -> dict[str, Any]:
    """Return what was given, with a token wherever a tunnel will need one."""
    given = dict(wished)
    if given.get("local"):
        return given
    if not given.get("token"):
        if folder.agent_config.exists():
            return given
        if sources.rehearsal:
            given["token"] = REHEARSAL_TOKEN
        else:
            given["token"] = find_token({}, os.environ, platform_secret, ask)
    given["token"] = check_token(given["token"])
    return given
