"""An answer while it comes: one display of a notebook, or words in a terminal."""

from __future__ import annotations

import html
from typing import Final, Protocol

from ...client.state_text import REHEARSAL_MARK
from ...protocol.state import State
from ...system.redaction import strip_control_chars
from .markdown import markdown_html
from .progress_line import ThrottledOutput
from .throttle import RedrawThrottle
from .view import print_line

SHOWN_WHILE_IT_COMES: Final = 1_200
"""Characters, the latest: so no update is over 20 kB, however long the answer."""
THINKING: Final = "(thinking …)"
_NOTE: Final = "opacity:.7;font-size:smaller"


class AnswerView(Protocol):
    """Shows an answer piece by piece."""

    def add(self, text: str, *, thought: str = "") -> None:
        """Show some more."""

    def close(self, note: str) -> None:
        """Show all of it, and a note below."""


class NotebookAnswer:
    """One display, updated in place."""

    def __init__(self, state: State, pace: RedrawThrottle | None = None) -> None:
        self._display = ThrottledOutput(state, pace or RedrawThrottle())
        self._text = ""

    def add(self, text: str, *, thought: str = "") -> None:
        """Draw the end of what has come, or leave it to a later piece."""
        self._text += text
        if (self._text or thought) and self._display.is_due:
            shown = self._text[-SHOWN_WHILE_IT_COMES:]
            is_cut = len(shown) < len(self._text)
            note = "…" if self._text else THINKING
            self._draw(f"…{shown}" if is_cut else shown, note)

    def close(self, note: str) -> None:
        """Draw all of it."""
        self._draw(self._text, note)

    def _draw(self, text: str, note: str) -> None:
        shown, below = strip_control_chars(text), strip_control_chars(note)
        markup = markdown_html(text) if text else ""
        foot = f'<div style="{_NOTE}">{html.escape(below)}</div>'
        self._display.draw(markup + foot, f"{shown}\n{below}" if text else below)


class TerminalAnswer:
    """The words as they come, for terminals."""

    def __init__(self, state: State) -> None:
        self._is_thinking = False
        if state.rehearsal:
            print_line(REHEARSAL_MARK)

    def add(self, text: str, *, thought: str = "") -> None:
        """Print them; a first thought is mentioned."""
        if thought and not self._is_thinking:
            self._is_thinking = True
            print_line(THINKING)
        print(strip_control_chars(text), end="", flush=True)  # noqa: T201

    def close(self, note: str) -> None:
        """Print the note on a line of its own."""
        print_line(f"\n{strip_control_chars(note)}")
