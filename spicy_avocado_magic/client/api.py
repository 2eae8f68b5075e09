"""The public functions ``up``, ``status``, ``down`` and ``logs``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

from ..config.options import OPTION_BY_NAME, build_up_request
from ..protocol.state import State
from .call_arguments import UpOptions, named_models, parse_keyword_arguments
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
    *models: str | Sequence[str],
    show: StateCallback | None = None,
    **options: Unpack[UpOptions],
) -> Avocado:
    """Bring up a public, authenticated URL for these models, or change what runs.

    Declarative: an option that is given becomes the desired value, one that is not
    given keeps its running value, and models are added. Blocks until all is ready.

    Args:
        models: Names such as ``"llama3"``, or lists of them; may be left out if the
            service runs.
        show: Called with each ``State``; by default plain lines on stderr.
        options: Those of ``%avocado_up`` with ``_`` for ``-``, such as
            ``token=…``, ``domain="name.ngrok.app"``, ``local=True``, ``ttl="2h"``,
            ``cors=["https://app.example"]``, ``limit={"rpm": 60}``.

    Returns:
        The handle; as a context manager it stops the service that this call launched.

    Raises:
        AvocadoError: With problem and remedy; the changes of this call are undone.
    """
    names = named_models(models)
    parsed: dict[str, Any] = {"models": names} if names else {}
    parsed |= parse_keyword_arguments("up", options, OPTION_BY_NAME)
    return run_up(build_up_request(parsed), show=show or print_progress())


def status(*, rehearse: bool = False) -> State | None:
    """Return the state of the running service, or None if none runs.

    Args:
        rehearse: Whether to look for a rehearsal only; else the real service comes
            first.

    Raises:
        AvocadoError: If the background process runs but does not answer.
    """
    for folder in candidate_state_folders(rehearse=rehearse):
        state = state_of(folder)
        if state is not None:
            return state
        clean_up_dead_daemon(folder)
    return None


def down(*, rehearse: bool = False, purge: bool = False) -> tuple[DownResult, ...]:
    """Stop the service and all its processes; a no-op if none runs.

    Args:
        rehearse: Whether to stop a rehearsal only.
        purge: Whether to remove installed releases of the engine, too: those of
            rehearsals with ``rehearse``, else those of real services.

    Returns:
        A result for each service that was stopped, and for each dead one that was
        cleaned up; with ``purge`` a last one with the bytes that were freed.

    Raises:
        DaemonUnreachable: If a process, port or secret is left.
        UserActionRequired: If another notebook is installing a release.
    """
    results = [
        stop_daemon(folder) for folder in candidate_state_folders(rehearse=rehearse)
    ]
    if purge:
        is_rehearsal = rehearse or rehearsal_requested()
        purged = purge_releases(rehearsal=is_rehearsal)
        results.append(
            DownResult(was_running=False, rehearsal=is_rehearsal, purged=purged)
        )
    return tuple(result for result in results if result)


def logs(
    component: str = "", *, count: int = LINES_SHOWN, rehearse: bool = False
) -> list[str]:
    """Return the last lines of the logs, the latest last; the service need not run.

    Args:
        component: One of ``host``, ``engine``, ``models``, ``gateway``, ``tunnel``
            and ``rehearsal``; by default all, merged by time.
        count: How many lines at most.
        rehearse: Whether to read the logs of a rehearsal only.

    Raises:
        UsageError: For an unknown component, with the closest match, or a wrong count.
    """
    folder = most_recent_state_folder(candidate_state_folders(rehearse=rehearse))
    return [str(line) for line in read_logs(folder, component, count)]
