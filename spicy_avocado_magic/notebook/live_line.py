"""One line that tells what is being done, updated in place."""

from __future__ import annotations

import html
import time
from collections.abc import Callable

from ..secrets import plain_text
from ..state import State
from .updated_display import UpdatedDisplay
from .view import say


class LiveLine:
    """A display of a notebook; in a terminal, a line for each new step.

    Args:
        state: Of the service that it tells of.
        in_notebook: Whether displays can be drawn.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        state: State,
        *,
        in_notebook: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rehearsal = state.rehearsal
        self._display = UpdatedDisplay(state, clock) if in_notebook else None
        self._step = ""

    def show(self, text: str) -> None:
        """Show a text ``step: details``: a new step at once, details now and then."""
        step = text.partition(":")[0]
        is_new, self._step = step != self._step, step
        if not text:
            return
        shown = plain_text(text)
        if self._display is None:
            if is_new:
                say(shown, rehearsal=self._rehearsal)
        elif is_new or self._display.is_due:
            self._display.draw(f"<div>{html.escape(shown)}</div>", shown)
