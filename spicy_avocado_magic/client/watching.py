"""Follow a service that runs, for as long as it does."""

from __future__ import annotations

from collections.abc import Iterator

from ..protocol.state import State
from .launch import find_host
from .places import state_folders


def watch(*, rehearse: bool) -> Iterator[State]:
    """Yield the state of the running service now, and whenever something changes.

    At least once a second; it ends when the service does. Nothing where none runs.

    Args:
        rehearse: Whether only a rehearsal is meant.

    Raises:
        AvocadoError: If a host runs but does not answer.
    """
    for folder in state_folders(rehearse=rehearse):
        host = find_host(folder)
        if host is not None:
            # What happened before is of no use here, so it is not asked for.
            yield from host.follow(after=host.state().sequence)
            return
