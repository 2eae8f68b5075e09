"""What a host that was not told to end has left, and how it is told."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ..state_folder import StateFolder, read_private
from .launch import sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """The service of a host that is dead; the next ``up`` brings it back."""

    models: tuple[str, ...]
    rehearsal: bool

    @property
    def text(self) -> str:
        """What happened, and what to do, in two sentences."""
        names = ", ".join(self.models)
        return (
            f"The service of {names} has died: its background process was killed, as "
            "happens when memory runs out; tunnel and engine were ended. "
            "%avocado_up brings it back with the same key, %avocado_down forgets it."
        )


def find_remains(folder: StateFolder) -> Remains | None:
    """Return what a dead host has left; None if one lives, or ended as it should.

    What it has left running is ended.

    Raises:
        PlatformUnsupported: If somebody else could have written it.
    """
    if sweep(folder) is None:
        return None
    try:
        wanted = json.loads(read_private(folder.wanted) or "{}")
        models = tuple(str(name) for name in wanted.get("models", ()))
    except (ValueError, AttributeError):
        return None
    is_rehearsal = folder.path.name == "rehearsal"
    return Remains(models=models, rehearsal=is_rehearsal) if models else None
