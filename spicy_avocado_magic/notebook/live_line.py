"""One line that tells what is being done, updated in place."""

from __future__ import annotations

import html

from ..protocol.state import State
from ..system.redaction import plain_text
from .card.pace import Pace
from .updated_display import UpdatedDisplay
from .view import say


class LiveLine:
    """A display of a notebook; in a terminal, a line for each new step.

    Args:
        state: Of the service that it tells of.
        in_notebook: Whether displays can be drawn.
        pace: How often it may be drawn.
    """

    def __init__(
        self, state: State, *, in_notebook: bool, pace: Pace | None = None
    ) -> None:
        self._rehearsal = state.rehearsal
        self._display = UpdatedDisplay(state, pace or Pace()) if in_notebook else None
        self._step = ""
        self._pending = ""
        self.has_begun = False
        """Whether anything was shown."""

    def show(self, text: str) -> None:
        """Show a text ``step: details`` that another one will replace.

        One that came too soon is shown by a later call, also by one without a text.
        """
        if self._display is None:
            self._print_new(text)
            return
        self._pending = text or self._pending
        if self._pending and self._display.is_due:
            self._draw(self._display, self._pending)

    def end(self, text: str) -> None:
        """Show what stays."""
        if self._display is None:
            self._print_new(text)
        else:
            self._draw(self._display, text)

    def _print_new(self, text: str) -> None:
        step = text.partition(":")[0]
        is_new, self._step = step != self._step, step
        if text and is_new:
            self.has_begun = True
            say(plain_text(text), rehearsal=self._rehearsal)

    def _draw(self, display: UpdatedDisplay, text: str) -> None:
        self._pending, self.has_begun = "", True
        shown = plain_text(text)
        display.draw(f"<div>{html.escape(shown)}</div>", shown)
