"""A model's answer while it arrives: a display in a notebook, text in a terminal.

JupyterLab executes ``<img onerror>`` and fetches images inside ``Markdown(…)``, so the
answer is never displayed as ``text/markdown``, but as HTML made from it here.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from ...client.state_text import REHEARSAL_MARK
from ...protocol.state import State
from ...system.redaction import strip_control_chars
from ..session import print_line
from .theme import NO_FORMULAS
from .updatable import RedrawThrottle, ThrottledOutput

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

TAIL_CHARS: Final = 1_200
"""How much of the end is shown while the answer arrives.

It keeps every update below 20 kB, however long the answer is.
"""
THINKING: Final = "(thinking …)"
LONGEST_RENDERED: Final = 60_000
"""Limit in characters: a longer text is shown unrendered, since rendering is slow."""
_WEB: Final = re.compile(r"https?://", re.IGNORECASE)
_NOTE: Final = "opacity:.7;font-size:smaller"


class NotebookAnswer:
    """An answer in one display, updated in place."""

    def __init__(self, state: State, throttle: RedrawThrottle | None = None) -> None:
        self._output = ThrottledOutput(state, throttle)
        self._text = ""

    def add(self, text: str, *, thought: str = "") -> None:
        """Add a piece, and draw the end of the answer if a redraw is allowed."""
        self._text += text
        if (self._text or thought) and self._output.is_due:
            tail = self._text[-TAIL_CHARS:]
            is_cut = len(tail) < len(self._text)
            note = "…" if self._text else THINKING
            self._draw(f"…{tail}" if is_cut else tail, note)

    def close(self, note: str) -> None:
        """Draw the whole answer, and a note below it."""
        self._draw(self._text, note)

    def _draw(self, text: str, note: str) -> None:
        shown, below = strip_control_chars(text), strip_control_chars(note)
        markup = markdown_html(text) if text else ""
        foot = f'<div style="{_NOTE}">{html.escape(below)}</div>'
        self._output.draw(markup + foot, f"{shown}\n{below}" if text else below)


class TerminalAnswer:
    """An answer printed piece by piece."""

    def __init__(self, state: State) -> None:
        self._is_thinking = False
        if state.rehearsal:
            print_line(REHEARSAL_MARK)

    def add(self, text: str, *, thought: str = "") -> None:
        """Print a piece; print once that the model is thinking."""
        if thought and not self._is_thinking:
            self._is_thinking = True
            print_line(THINKING)
        print(strip_control_chars(text), end="", flush=True)  # noqa: T201

    def close(self, note: str) -> None:
        """Print a note on a line of its own."""
        print_line(f"\n{strip_control_chars(note)}")


def markdown_html(text: str) -> str:
    """Return safe HTML for a model's Markdown.

    HTML in it is escaped, images become links, and links lead to web pages only.
    """
    stripped = strip_control_chars(text)
    if len(stripped) > LONGEST_RENDERED:
        markup = f'<div style="white-space:pre-wrap">{html.escape(stripped)}</div>'
    else:
        markup = _renderer().render(stripped)
    return f'<div class="{NO_FORMULAS}">{markup}</div>'


@cache
def _renderer() -> MarkdownIt:
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False, "linkify": False})
    markdown.enable(["table", "strikethrough"]).disable(["image", "autolink"])
    markdown.validateLink = _is_web  # type: ignore[method-assign]
    markdown.add_render_rule("link_open", _open_link)
    return markdown


def _is_web(url: str) -> bool:
    return _WEB.match(url) is not None


def _open_link(
    renderer: Any, tokens: Sequence[Any], index: int, options: Any, env: Any
) -> str:
    tokens[index].attrSet("rel", "noopener noreferrer")
    tokens[index].attrSet("target", "_blank")
    # The browser's default blue is hard to read on a dark theme.
    tokens[index].attrSet("style", "color:inherit")
    return str(renderer.renderToken(tokens, index, options, env))
