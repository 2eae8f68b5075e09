"""``%%avocado_model``: create a model from the cell's Modelfile, and serve it."""

from __future__ import annotations

from ...client import api, chat, create_model
from ...config.options import UpRequest
from ...config.validators import validate_model
from ...errors import AvocadoError
from ...protocol.state_folder import StateFolder
from ..display.updatable import ProgressLine, RedrawThrottle
from ..session import MagicCall
from .up import bring_up


def run(call: MagicCall) -> None:
    """Create the model, then serve it as ``%avocado_up NAME`` does.

    Raises:
        UsageError: If the line is wrong, or no service runs.
        SecretMissing: If a ``$NAME`` is not defined anywhere.
        AvocadoError: If the model cannot be created or served.
    """
    values = call.parse()
    name = validate_model(values["name"])
    state = chat.require_running(api.status(rehearse=values["rehearse"]))
    folder = StateFolder.find(rehearsal=state.rehearsal)
    throttle = RedrawThrottle(final_draws=2)
    progress = ProgressLine(state, in_notebook=call.in_notebook, throttle=throttle)
    try:
        pulled = create_model.create_model(
            folder, name, call.cell or "", show=progress.show
        )
    except AvocadoError:
        if progress.is_shown:
            progress.end(f"{name} was not created.")
        raise
    downloads = f"downloaded {', '.join(pulled)} and " if pulled else ""
    progress.end(f"Ollama has {downloads}created {name}.")
    request = UpRequest(given={"models": (name,)}, rehearse=state.rehearsal)
    bring_up(call, request, throttle)
