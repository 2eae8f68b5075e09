"""Have the host make a model from a Modelfile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..config.model_name import ModelName
from ..errors import DaemonUnreachable, Interrupted, UsageError
from ..formatting import format_bytes
from ..protocol.state_folder import StateFolder
from .chat import require_running
from .control_client import ControlClient
from .launch import state_of

LONGEST_BYTES: Final = 500_000
"""Half of what the host takes of a request, since JSON may double a text."""


def create_model(
    folder: StateFolder,
    name: str,
    modelfile: str,
    *,
    show: Callable[[str], None] = lambda _text: None,
) -> tuple[str, ...]:
    """Make a model by the engine's own ``ollama create``; it is not yet served.

    What it is made from, and is not here, is pulled by the engine first. Relative
    paths lead from the present folder.

    Args:
        folder: Of the host.
        name: Of the model to be; one that is there is replaced.
        modelfile: Its text.
        show: Told what is being done, in a line, several times a second.

    Returns:
        The models that were pulled for it.

    Raises:
        UsageError: If name or Modelfile cannot be right, with the line of the cell.
        Interrupted: If the user interrupts; no model is made then.
        AvocadoError: As the host raised it.
    """
    ModelName.parse(name)
    if not modelfile.strip():
        raise UsageError("The Modelfile is empty.", "Begin it with FROM MODEL.")
    if len(modelfile.encode()) > LONGEST_BYTES:
        raise UsageError(
            f"The Modelfile is longer than {format_bytes(LONGEST_BYTES)}.",
            "Leave out what is long in it, such as a licence.",
        )
    require_running(state_of(folder))
    wish = {"name": name, "modelfile": modelfile, "folder": str(Path.cwd())}
    try:
        for told in ControlClient(folder.socket).stream("/create", **wish):
            if "pulled" in told:
                return tuple(told["pulled"])
            show(str(told.get("text", "")))
    except KeyboardInterrupt:
        raise Interrupted(
            f"Interrupted; {name} was not made.",
            "Run the cell again; what was pulled for it is kept.",
        ) from None
    raise DaemonUnreachable(
        "The background process ended while it made the model.",
        "Run %avocado_up again, then this cell.",
    )
