"""One line that tells what is being done, updated in place."""

from __future__ import annotations

import html
from typing import Final

from ...client.state_text import REHEARSAL_MARK
from ...protocol.state import State
from ...system.redaction import strip_control_chars
from .html import RichOutput
from .theme import wrap_card
from .throttle import RedrawThrottle
from .updatable import UpdatableOutput
from .view import print_line


class ProgressLine:
    """A display of a notebook; in a terminal, a line for each new step.

    Args:
        state: Of the service that it tells of.
        in_notebook: Whether displays can be drawn.
        pace: How often it may be drawn.
    """

    def __init__(
        self, state: State, *, in_notebook: bool, pace: RedrawThrottle | None = None
    ) -> None:
        self._rehearsal = state.rehearsal
        self._display = (
            ThrottledOutput(state, pace or RedrawThrottle()) if in_notebook else None
        )
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
            print_line(strip_control_chars(text), rehearsal=self._rehearsal)

    def _draw(self, display: ThrottledOutput, text: str) -> None:
        self._pending, self.has_begun = "", True
        shown = strip_control_chars(text)
        display.draw(f"<div>{html.escape(shown)}</div>", shown)


LABEL: Final = "Spicy Avocado"


class ThrottledOutput:
    """Drawn in our frame, with a plain twin; a rehearsal is marked in both.

    Args:
        state: Of the service that it tells of.
        pace: How often it may be drawn while it moves.
    """

    def __init__(self, state: State, pace: RedrawThrottle) -> None:
        self._state, self._pace = state, pace
        self._drawing = UpdatableOutput()

    @property
    def is_due(self) -> bool:
        """Whether it may be drawn though more is to come."""
        return self._pace.is_due

    def draw(self, markup: str, text: str) -> None:
        """Show safe markup, and a text from which control characters are gone."""
        is_rehearsal = self._state.rehearsal
        mark = f"{REHEARSAL_MARK}\n" if is_rehearsal else ""
        self._drawing.update(
            RichOutput(
                html=wrap_card(
                    markup, phase="ready", label=LABEL, rehearsal=is_rehearsal
                ),
                text=f"{mark}{text}",
            )
        )
        self._pace.note()
