"""The public verbs: ``up``, ``status``, ``down`` and ``logs``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..config.options import OPTION_BY_NAME, build_up_request
from ..protocol.state import State
from .call_arguments import named_models, parse_keyword_arguments
from .down import DownResult, stop_daemon
from .down import purge as purge_releases
from .handle import Avocado
from .launch import (
    candidate_state_folders,
    clean_up_dead_daemon,
    rehearsal_requested,
    state_of,
)
from .log_reader import LINES_SHOWN, most_recent_state_folder, read_logs
from .state_text import print_progress
from .up import run_up
from .wait_ready import StateCallback


def up(
    *models: str | Sequence[str], show: StateCallback | None = None, **options: Any
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
    wish = build_up_request(
        named | parse_keyword_arguments("up", options, OPTION_BY_NAME)
    )
    return run_up(wish, show=show or print_progress())


def status(*, rehearse: bool = False) -> State | None:
    """Return the running host's state, or None if none runs.

    A real host goes before a rehearsal, unless a rehearsal is asked for.

    Raises:
        AvocadoError: If a host runs but does not answer.
    """
    for folder in candidate_state_folders(rehearse=rehearse):
        state = state_of(folder)
        if state is not None:
            return state
        clean_up_dead_daemon(folder)
    return None


def down(*, rehearse: bool = False, purge: bool = False) -> tuple[DownResult, ...]:
    """End everything that this program started; a no-op where nothing runs.

    Args:
        rehearse: Whether only a rehearsal is meant.
        purge: Whether to remove installed releases of the engine, too: those of
            rehearsals with ``rehearse``, else those of real services.

    Returns:
        What was ended, a value for each host or remains of one; with ``purge``
        a last one that tells how many bytes were freed.

    Raises:
        DaemonUnreachable: If something is left that could not be ended.
        UserActionRequired: If a release is just being installed by somebody else.
    """
    ended = [
        stop_daemon(folder) for folder in candidate_state_folders(rehearse=rehearse)
    ]
    if purge:
        is_rehearsal = rehearse or rehearsal_requested()
        purged = purge_releases(rehearsal=is_rehearsal)
        ended.append(
            DownResult(was_running=False, rehearsal=is_rehearsal, purged=purged)
        )
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
        UsageError: With the nearest component, or if there cannot be so many.
    """
    folder = most_recent_state_folder(candidate_state_folders(rehearse=rehearse))
    return [str(line) for line in read_logs(folder, component, count)]
