"""Which hosts are meant: the real one, a rehearsal, or both."""

from __future__ import annotations

from ..protocol.state_folder import StateFolder
from .bringing import is_rehearsal_asked_for


def state_folders(*, rehearse: bool) -> tuple[StateFolder, ...]:
    """Return the folders of the hosts that are meant, the real one first.

    Args:
        rehearse: Whether only a rehearsal is meant.

    Raises:
        PlatformUnsupported: If one belongs to somebody else.
    """
    rehearsal = StateFolder.find(rehearsal=True)
    if rehearse or is_rehearsal_asked_for():
        return (rehearsal,)
    return (StateFolder.find(rehearsal=False), rehearsal)
