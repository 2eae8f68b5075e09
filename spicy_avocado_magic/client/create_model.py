"""Creation of a model from a Modelfile, by the daemon."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..config.model_name import ModelName
from ..errors import DaemonUnreachable, Interrupted, UsageError
from ..formatting import format_bytes
from ..protocol.control_messages import CreateEvent, CreateMessage
from ..protocol.state_folder import StateFolder
from .chat import require_running
from .control_client import ControlClient
from .launch import state_of

MAX_BYTES: Final = 500_000
"""Half of the daemon's limit for a request: JSON may double a text."""


def create_model(
    folder: StateFolder,
    name: str,
    modelfile: str,
    *,
    show: Callable[[str], None] = lambda _text: None,
) -> tuple[str, ...]:
    """Create a model by the engine's own ``ollama create``; it is not served yet.

    The engine pulls its base model first, if that is missing. Relative paths start at
    the working directory.

    Args:
        folder: Of the service.
        name: Of the new model; an existing one is replaced.
        modelfile: Its text.
        show: Called with a line about the progress, several times a second.

    Returns:
        The models that were pulled for it.

    Raises:
        UsageError: If name or Modelfile is not valid, with the line of the cell.
        Interrupted: If the user interrupts; no model is created then.
        AvocadoError: The error of the daemon or the engine.
    """
    ModelName.parse(name)
    if not modelfile.strip():
        raise UsageError("The Modelfile is empty.", "Begin it with FROM MODEL.")
    if len(modelfile.encode()) > MAX_BYTES:
        raise UsageError(
            f"The Modelfile is longer than {format_bytes(MAX_BYTES)}.",
            "Remove a long part of it, such as a licence.",
        )
    require_running(state_of(folder))
    message = CreateMessage(name=name, modelfile=modelfile, folder=str(Path.cwd()))
    client = ControlClient(folder.socket)
    try:
        for event in client.stream("/create", message, CreateEvent):
            if event.pulled is not None:
                return event.pulled
            show(event.text)
    except KeyboardInterrupt:
        raise Interrupted(
            f"Interrupted; {name} was not created.",
            "Run the cell again; models that were pulled for it are kept.",
        ) from None
    raise DaemonUnreachable(
        "The background process ended while it was creating the model.",
        "Run %avocado_up again, then this cell.",
    )
