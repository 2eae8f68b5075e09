"""One display of a notebook that is updated in place, a few times a second at most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..state import State
from ..text import REHEARSAL_MARK
from .card.drawing import Drawing
from .card.markup import Picture
from .card.style import framed

SHORTEST_PAUSE_S: Final = 0.25
LABEL: Final = "Spicy Avocado"


class UpdatedDisplay:
    """Drawn in our frame, with a plain twin; a rehearsal is marked in both.

    Args:
        state: Of the service that it tells of.
        clock: Monotonic, in seconds.
    """

    def __init__(self, state: State, clock: Callable[[], float]) -> None:
        self._state, self._clock = state, clock
        self._drawing = Drawing()
        self._drawn_at = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether the last drawing is old enough for another one."""
        return self._clock() - self._drawn_at >= SHORTEST_PAUSE_S

    def draw(self, markup: str, text: str) -> None:
        """Show safe markup, and a text from which control characters are gone."""
        is_rehearsal = self._state.rehearsal
        mark = f"{REHEARSAL_MARK}\n" if is_rehearsal else ""
        self._drawn_at = self._clock()
        self._drawing.draw(
            Picture(
                html=framed(markup, phase="ready", label=LABEL, rehearsal=is_rehearsal),
                text=f"{mark}{text}",
            )
        )
