"""The public verbs: ``up``, ``status`` and ``down``, for notebooks and scripts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, assert_never

from ..environment import require_supported
from ..errors import AvocadoError, Interrupted, StillStarting, UsageMistake
from ..options import OPTION_BY_NAME, Wish, nearest_match, parse_flag, wish_from
from ..policy import Policy
from ..secrets import Secret, check_token, find_token, platform_secret
from ..settings import Sources
from ..state import State
from ..state_folder import StateFolder
from ..text import narrate
from .connection import Connection
from .ending import Ended, end
from .follow import Show, check_health, follow
from .handle import Avocado
from .launch import dict_of, find_host, launch, sweep
from .outcome import Accepted, Changed, Failed, Launched, Outcome, Reused, TimedOut

REHEARSE_VARIABLE: Final = "AVOCADO_REHEARSE"
REHEARSAL_TOKEN: Final = "rehearsal-token-of-nobody"  # noqa: S105
"""Stands in where a rehearsal was given no token; it opens nothing."""


def up(*models: str, show: Show | None = None, **options: Any) -> Avocado:
    """Bring up a public, authenticated URL for these models, or change what runs.

    Declarative: an option that is given becomes the wanted value, one that is not
    keeps its running value, and models are added. Blocks until all is ready.

    Args:
        models: Names such as ``"llama3"``; may be left out on a running host.
        show: Called with each ``State``; by default plain lines on stderr.
        options: Those of ``%avocado_up`` with ``_`` for ``-``, such as
            ``token=…``, ``domain="name.ngrok.app"``, ``local=True``, ``ttl="2h"``.

    Returns:
        The handle; as a context manager it ends what this call launched.

    Raises:
        AvocadoError: With problem and remedy; what this call began is taken back.
    """
    wish = wish_from(_parse_options(models, options))
    return bring_up(wish, show=show or narrate())


def status(*, rehearse: bool = False) -> State | None:
    """Return the running host's state, or None if none runs.

    A real host goes before a rehearsal, unless a rehearsal is asked for.

    Raises:
        AvocadoError: If a host runs but does not answer.
    """
    for folder in _folders(rehearse=rehearse):
        host = find_host(folder)
        if host is not None:
            return host.state()
        sweep(folder)
    return None


def down(*, rehearse: bool = False) -> tuple[Ended, ...]:
    """End everything that this program started; a no-op where nothing runs.

    Returns:
        What was ended, a value for each host or remains of one.

    Raises:
        HostUnreachable: If something is left that could not be ended.
    """
    ended = [end(folder) for folder in _folders(rehearse=rehearse)]
    return tuple(one for one in ended if one)


def restore() -> Avocado | None:
    """Return a handle to a host that runs already, changing and sweeping nothing."""
    for folder in _folders(rehearse=False):
        if find_host(folder) is not None:
            return Avocado(folder, "restored")
    return None


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
    host = find_host(folder)
    if host is None:
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
        host = Connection(folder.socket)
    return _change(host, wish, show, policy)


def _change(host: Connection, wish: Wish, show: Show, policy: Policy) -> Outcome:
    began = time.monotonic()
    given = dict(wish.given)
    if given.get("token"):
        given["token"] = check_token(given["token"])
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
        done=lambda state: Changed(
            state=state, what=changed, seconds=time.monotonic() - began
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


def _folders(*, rehearse: bool) -> tuple[StateFolder, ...]:
    rehearsal = StateFolder.find(rehearsal=True)
    if rehearse or is_rehearsal_asked_for():
        return (rehearsal,)
    return (StateFolder.find(rehearsal=False), rehearsal)


def _parse_options(models: tuple[str, ...], options: dict[str, Any]) -> dict[str, Any]:
    parsed: dict[str, Any] = {"models": models} if models else {}
    for name, value in options.items():
        option = OPTION_BY_NAME.get(name)
        if option is None:
            near = nearest_match(name, OPTION_BY_NAME)
            hint = f"Did you mean {near}=…?" if near else "See help(up)."
            raise UsageMistake(f"up() has no option {name!r}.", hint)
        if value is None:
            continue
        text = value.open() if isinstance(value, Secret) else str(value)
        parsed[option.name] = option.parse(text)
    return parsed
