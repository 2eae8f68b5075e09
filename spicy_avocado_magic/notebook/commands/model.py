"""What ``%%avocado_model`` does: have a model made from the cell, and serve it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ...config.options import UpRequest, parse_flag
from ...config.validators import validate_model
from ...errors import AvocadoError, UsageError
from ...protocol.state_folder import StateFolder
from ..display.view import print_line
from ..line.commands import MODEL
from ..line.parser import parse_line
from ..line.variables import VariableResolver

if TYPE_CHECKING:
    from ..display.throttle import RedrawThrottle

_HOW: Final = "Write %%avocado_model NAME, with two %, and the Modelfile below."


def run_model(
    line: str,
    cell: str | None,
    names: VariableResolver,
    *,
    in_notebook: bool,
    bring_up: Callable[[UpRequest, RedrawThrottle], None],
) -> None:
    """Do what a cell asks for.

    Args:
        line: All that follows the magic's name.
        cell: The Modelfile; None where the magic stands on a line, with one ``%``.
        names: Where ``$NAME`` of the line is looked up.
        in_notebook: Whether displays can be drawn.
        bring_up: Does what ``%avocado_up`` does, and shows it.

    Raises:
        UsageError: If it cannot be right, or no service runs.
        SecretMissing: If a ``$NAME`` is nowhere.
        AvocadoError: If the model cannot be made or served.
    """
    typed = parse_line(line, MODEL)
    if typed is None:
        print_line(MODEL.help())
        return
    if cell is None:
        raise UsageError("The Modelfile below is missing.", _HOW)
    words = typed.words
    if len(words) != 1:
        raise UsageError(
            f"{words[1]!r} is one word too many." if words else "The name is missing.",
            _HOW,
        )
    name = validate_model(names.resolve(words[0]))
    from ...client import api, chat, create_model
    from ..display.progress_line import ProgressLine
    from ..display.throttle import RedrawThrottle

    rehearse = parse_flag(names.resolve(typed.options.get("--rehearse", "false")))
    state = chat.require_running(api.status(rehearse=rehearse))
    folder = StateFolder.find(rehearsal=state.rehearsal)
    pace = RedrawThrottle(ends=2)
    told = ProgressLine(state, in_notebook=in_notebook, pace=pace)
    try:
        pulled = create_model.create_model(folder, name, cell, show=told.show)
    except AvocadoError:
        if told.has_begun:
            told.end(f"{name} was not made.")
        raise
    before = f"pulled {', '.join(pulled)} and " if pulled else ""
    told.end(f"Ollama has {before}made {name}.")
    bring_up(UpRequest(given={"models": (name,)}, rehearse=state.rehearsal), pace)
