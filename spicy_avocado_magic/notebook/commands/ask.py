"""``%%avocado_ask``: send the cell to a model and show the answer as it arrives."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Final

from ...client import api, chat
from ...client.chat import ChatChunk
from ...config.timeouts import Timeouts
from ...errors import AvocadoError
from ..display.answer import NotebookAnswer, TerminalAnswer
from ..session import MagicCall

INTERRUPTED: Final = "stopped"
BROKEN: Final = "the answer is incomplete"


def run(call: MagicCall) -> None:
    """Ask the question and show the answer; an interrupt ends it quietly.

    Raises:
        UsageError: If the line is wrong, or no service runs.
        SecretMissing: If a ``$NAME`` is not defined anywhere.
        GatewayFailed, EngineFailed: If there is no answer.
    """
    values = call.parse()
    state = chat.require_running(api.status(rehearse=values["rehearse"]))
    request = chat.ChatRequest(
        model=values["model"] or chat.first_model(state),
        prompt=call.cell or "",
        system=values["system"] or "",
    )
    view: NotebookAnswer | TerminalAnswer = TerminalAnswer(state)
    if call.in_notebook:
        view = NotebookAnswer(state)
    _show(chat.stream_chat(state, request, Timeouts()), view, request.model)


def _show(
    chunks: Generator[ChatChunk, None, None],
    view: NotebookAnswer | TerminalAnswer,
    model: str,
) -> None:
    note, has_begun = f"{model}: {BROKEN}", False
    try:
        with contextlib.closing(chunks):
            for chunk in chunks:
                has_begun = True
                view.add(chunk.text, thought=chunk.thought)
                if chunk.tokens:
                    note = _speed_note(model, chunk)
    except KeyboardInterrupt:
        note = f"{model}: {INTERRUPTED}"
    except AvocadoError:
        if has_begun:
            view.close(f"{model}: {BROKEN}")
        raise
    view.close(note)


def _speed_note(model: str, last: ChatChunk) -> str:
    """Return which model answered, and how fast."""
    speed = ""
    if last.seconds:
        speed = f", {last.tokens / last.seconds:.1f} tokens per second"
    return f"{model}: {last.tokens} tokens{speed}"
