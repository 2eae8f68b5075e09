"""The public verbs: ``up``, ``status``, ``down`` and ``logs``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..config.options import OPTION_BY_NAME, wish_from
from ..protocol.state import State
from .call_arguments import named_models, parse_call
from .down import Ended, end
from .down import purge as purge_releases
from .handle import Avocado
from .launch import is_rehearsal_asked_for, state_folders, state_of, sweep
from .log_reader import LINES_SHOWN, folder_with_logs, read_logs
from .state_text import narrate
from .up import bring_up
from .wait_ready import Show


def up(
    *models: str | Sequence[str], show: Show | None = None, **options: Any
) -> Avocado:
    """Bring up a public, authenticated URL for these models, or change what runs.

    Declarative: an option that is given becomes the wanted value, one that is not
    keeps its running value, and models are added. Blocks until all is ready.

    Args:
        models: Names such as ``"llama3"``, or lists of them; may be left out on a
            running host.
        show: Called with each ``State``; by default plain lines on stderr.
        options: Those of ``%avocado_up`` with ``_`` for ``-``, such as
            ``token=…``, ``domain="name.ngrok.app"``, ``local=True``, ``ttl="2h"``,
            ``cors=["https://app.example"]``, ``limit={"rpm": 60}``.

    Returns:
        The handle; as a context manager it ends what this call launched.

    Raises:
        AvocadoError: With problem and remedy; what this call began is taken back.
    """
    names = named_models(models)
    named: dict[str, Any] = {"models": names} if names else {}
    wish = wish_from(named | parse_call("up", options, OPTION_BY_NAME))
    return bring_up(wish, show=show or narrate())


def status(*, rehearse: bool = False) -> State | None:
    """Return the running host's state, or None if none runs.

    A real host goes before a rehearsal, unless a rehearsal is asked for.

    Raises:
        AvocadoError: If a host runs but does not answer.
    """
    for folder in state_folders(rehearse=rehearse):
        state = state_of(folder)
        if state is not None:
            return state
        sweep(folder)
    return None


def down(*, rehearse: bool = False, purge: bool = False) -> tuple[Ended, ...]:
    """End everything that this program started; a no-op where nothing runs.

    Args:
        rehearse: Whether only a rehearsal is meant.
        purge: Whether to remove installed releases of the engine, too: those of
            rehearsals with ``rehearse``, else those of real services.

    Returns:
        What was ended, a value for each host or remains of one; with ``purge``
        a last one that tells how many bytes were freed.

    Raises:
        HostUnreachable: If something is left that could not be ended.
        UserMustAct: If a release is just being installed by somebody else.
    """
    ended = [end(folder) for folder in state_folders(rehearse=rehearse)]
    if purge:
        is_rehearsal = rehearse or is_rehearsal_asked_for()
        purged = purge_releases(rehearsal=is_rehearsal)
        ended.append(Ended(was_running=False, rehearsal=is_rehearsal, purged=purged))
    return tuple(one for one in ended if one)


def logs(
    component: str = "", *, count: int = LINES_SHOWN, rehearse: bool = False
) -> list[str]:
    """Return the last lines of what happened, the latest last; no host has to run.

    Args:
        component: One of ``host``, ``engine``, ``models``, ``gateway``, ``tunnel``
            and ``rehearsal``; by default all, merged by time.
        count: How many lines at most.
        rehearse: Whether only a rehearsal is meant.

    Raises:
        UsageMistake: With the nearest component, or if there cannot be so many.
    """
    folder = folder_with_logs(state_folders(rehearse=rehearse))
    return [str(line) for line in read_logs(folder, component, count)]
