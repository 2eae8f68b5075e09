"""What ``%%avocado_ask`` does: send the cell to a model, show its answer."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import TYPE_CHECKING, Final

from ...config.options import parse_flag
from ...config.timeouts import Timeouts
from ...config.validators import validate_model
from ...errors import AvocadoError, UsageError
from ..display.view import print_line
from ..line.commands import ASK
from ..line.parser import parse_line
from ..line.variables import VariableResolver

if TYPE_CHECKING:
    from ...client.chat import ChatChunk
    from ..display.answer import AnswerView

    Pieces = Generator[ChatChunk, None, None]

INTERRUPTED: Final = "interrupted"
BROKEN: Final = "the answer broke off"
_QUOTE: Final = 'Put quotes around a text with blanks: --system "Be brief."'
_HOW: Final = "Write %%avocado_ask MODEL, with two %, and the question below."


def run_ask(
    line: str, cell: str | None, names: VariableResolver, *, in_notebook: bool
) -> None:
    """Do what a cell asks for; an interrupt ends the answer, quietly.

    Args:
        line: All that follows the magic's name.
        cell: The question; None where the magic stands on a line, with one ``%``.
        names: Where ``$NAME`` of the line is looked up.
        in_notebook: Whether displays can be drawn.

    Raises:
        UsageError: If it cannot be right, or no service runs.
        SecretMissing: If a ``$NAME`` is nowhere.
        GatewayFailed, EngineFailed: If there is no answer.
    """
    typed = parse_line(line, ASK)
    if typed is None:
        print_line(ASK.help())
        return
    if cell is None or not cell.strip():
        raise UsageError("The question below is missing.", _HOW)
    word, *more = typed.words or ("",)
    if more:
        how = _QUOTE if "--system" in typed.options else _HOW
        raise UsageError(f"{more[0]!r} is one word too many.", how)
    model = next(iter(names.models(word)), "") if word else ""
    if model:
        validate_model(model)
    from ...client import api, chat
    from ..display.answer import NotebookAnswer, TerminalAnswer

    asked = {flag: names.resolve(text) for flag, text in typed.options.items()}
    rehearse = parse_flag(asked.get("--rehearse", "false"))
    state = chat.require_running(api.status(rehearse=rehearse))
    question = chat.ChatRequest(
        model=model or chat.first_model(state),
        prompt=cell,
        system=asked.get("--system", ""),
    )
    view: AnswerView = NotebookAnswer(state) if in_notebook else TerminalAnswer(state)
    _show(chat.stream_chat(state, question, Timeouts()), view, question.model)


def _show(pieces: Pieces, view: AnswerView, model: str) -> None:
    note, has_begun = f"{model}: nothing more came", False
    try:
        with contextlib.closing(pieces) as coming:
            for piece in coming:
                has_begun = True
                view.add(piece.text, thought=piece.thought)
                if piece.tokens:
                    note = _note(model, piece)
    except KeyboardInterrupt:
        note = f"{model}: {INTERRUPTED}"
    except AvocadoError:
        if has_begun:
            view.close(f"{model}: {BROKEN}")
        raise
    view.close(note)


def _note(model: str, last: ChatChunk) -> str:
    """Return who answered, and how fast: a proof of what the service can do."""
    speed = f", {last.tokens / last.seconds:.1f} a second" if last.seconds else ""
    return f"{model}: {last.tokens} tokens{speed}"
