"""What ``%%avocado_model`` does: have a model made from the cell, and serve it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ...config.options import Wish, parse_flag
from ...config.validators import validate_model
from ...errors import AvocadoError, UsageMistake
from ...protocol.state_folder import StateFolder
from ..display.view import say
from ..line.commands import MODEL
from ..line.parser import sort_words
from ..line.variables import Names

if TYPE_CHECKING:
    from ..display.throttle import Pace

_HOW: Final = "Write %%avocado_model NAME, with two %, and the Modelfile below."


def run_model(
    line: str,
    cell: str | None,
    names: Names,
    *,
    in_notebook: bool,
    bring_up: Callable[[Wish, Pace], None],
) -> None:
    """Do what a cell asks for.

    Args:
        line: All that follows the magic's name.
        cell: The Modelfile; None where the magic stands on a line, with one ``%``.
        names: Where ``$NAME`` of the line is looked up.
        in_notebook: Whether displays can be drawn.
        bring_up: Does what ``%avocado_up`` does, and shows it.

    Raises:
        UsageMistake: If it cannot be right, or no service runs.
        SecretMissing: If a ``$NAME`` is nowhere.
        AvocadoError: If the model cannot be made or served.
    """
    typed = sort_words(line, MODEL)
    if typed is None:
        say(MODEL.help())
        return
    if cell is None:
        raise UsageMistake("The Modelfile below is missing.", _HOW)
    words = typed.words
    if len(words) != 1:
        raise UsageMistake(
            f"{words[1]!r} is one word too many." if words else "The name is missing.",
            _HOW,
        )
    name = validate_model(names.resolve(words[0]))
    from ...client import api, chat, create_model
    from ..display.progress_line import LiveLine
    from ..display.throttle import Pace

    rehearse = parse_flag(names.resolve(typed.options.get("--rehearse", "false")))
    state = chat.require_running(api.status(rehearse=rehearse))
    folder = StateFolder.find(rehearsal=state.rehearsal)
    pace = Pace(ends=2)
    told = LiveLine(state, in_notebook=in_notebook, pace=pace)
    try:
        pulled = create_model.create_model(folder, name, cell, show=told.show)
    except AvocadoError:
        if told.has_begun:
            told.end(f"{name} was not made.")
        raise
    before = f"pulled {', '.join(pulled)} and " if pulled else ""
    told.end(f"Ollama has {before}made {name}.")
    bring_up(Wish(given={"models": (name,)}, rehearse=state.rehearsal), pace)
