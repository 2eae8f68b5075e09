"""Notebook displays that are updated in place, at a bounded rate."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from typing import Any, Final

from ...client.state_text import REHEARSAL_MARK
from ...config.timeouts import Timeouts
from ...protocol.state import State
from ...system.redaction import strip_control_chars
from ..session import print_line
from .html import RichOutput
from .theme import wrap_card

LABEL: Final = "Spicy Avocado"
_WINDOW_S: Final = 1.0


class UpdatableOutput:
    """One display of a notebook, drawn once and then replaced in place.

    The notebook file keeps only the last output: a frontend replaces the output that
    has the same display id.
    """

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown: RichOutput | None = None

    def update(self, output: RichOutput) -> None:
        """Show an output; the same one again is not sent."""
        from IPython.display import DisplayHandle

        if output == self._shown:
            return
        is_first = self._handle is None
        # Set before sending: an interrupt meanwhile must not cause a second display.
        self._handle = self._handle or DisplayHandle()
        self._shown = output
        if is_first:
            self._handle.display(output.bundle, raw=True)
        else:
            self._handle.update(output.bundle, raw=True)


class RedrawThrottle:
    """Limit of redraws per second, evenly spread, so that a browser can keep up.

    The final draw of a display never waits, so it is reserved within the limit.

    Args:
        clock: Seconds of a monotonic clock.
        timeouts: With the number of draws a second.
        final_draws: Number of displays in the cell that will have a final draw.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        timeouts: Timeouts | None = None,
        *,
        final_draws: int = 1,
    ) -> None:
        self._clock = clock
        per_second = (timeouts or Timeouts()).draws_a_second
        self._max_draws = max(1, per_second - final_draws)
        self._drawn_at_s: list[float] = []

    @property
    def is_due(self) -> bool:
        """Whether a redraw is allowed now."""
        now_s = self._clock()
        self._drawn_at_s = [at for at in self._drawn_at_s if now_s - at <= _WINDOW_S]
        if not self._drawn_at_s:
            return True
        is_spread = now_s - self._drawn_at_s[-1] >= _WINDOW_S / self._max_draws
        return is_spread and len(self._drawn_at_s) < self._max_draws

    def record_draw(self) -> None:
        """Count a draw that was just sent."""
        self._drawn_at_s.append(self._clock())


class ThrottledOutput:
    """A display in the card's frame with a text form, marked if it is a rehearsal.

    Args:
        state: Of the service that it is about.
        throttle: Limit of its redraws.
    """

    def __init__(self, state: State, throttle: RedrawThrottle | None = None) -> None:
        self._is_rehearsal = state.rehearsal
        self._throttle = throttle or RedrawThrottle()
        self._output = UpdatableOutput()

    @property
    def is_due(self) -> bool:
        """Whether a redraw that is not the final one is allowed now."""
        return self._throttle.is_due

    def draw(self, markup: str, text: str) -> None:
        """Show safe markup, and its text form without control characters."""
        mark = f"{REHEARSAL_MARK}\n" if self._is_rehearsal else ""
        card = wrap_card(
            markup, phase="ready", label=LABEL, rehearsal=self._is_rehearsal
        )
        self._output.update(RichOutput(html=card, text=f"{mark}{text}"))
        self._throttle.record_draw()


class ProgressLine:
    """One line of progress: a display in a notebook, a line per step in a terminal.

    Args:
        state: Of the service that it is about.
        in_notebook: Whether displays can be drawn.
        throttle: Limit of its redraws.
    """

    def __init__(
        self, state: State, *, in_notebook: bool, throttle: RedrawThrottle | None = None
    ) -> None:
        self._rehearsal = state.rehearsal
        self._output = ThrottledOutput(state, throttle) if in_notebook else None
        self._step = ""
        self._pending = ""
        self.is_shown = False
        """Whether anything was shown."""

    def show(self, text: str) -> None:
        """Show a text ``step: details``, which the next one will replace.

        One that came too soon is shown by a later call, even by one without a text.
        """
        if self._output is None:
            self._print_new(text)
            return
        self._pending = text or self._pending
        if self._pending and self._output.is_due:
            self._draw(self._output, self._pending)

    def end(self, text: str) -> None:
        """Show the final text."""
        if self._output is None:
            self._print_new(text)
        else:
            self._draw(self._output, text)

    def _print_new(self, text: str) -> None:
        step = text.partition(":")[0]
        is_new, self._step = step != self._step, step
        if text and is_new:
            self.is_shown = True
            print_line(strip_control_chars(text), rehearsal=self._rehearsal)

    def _draw(self, output: ThrottledOutput, text: str) -> None:
        self._pending, self.is_shown = "", True
        shown = strip_control_chars(text)
        output.draw(f"<div>{html.escape(shown)}</div>", shown)
