"""One display of a notebook that is updated in place, a few times a second at most."""

from __future__ import annotations

from typing import Final

from ..client.state_text import REHEARSAL_MARK
from ..protocol.state import State
from .card.drawing import Drawing
from .card.markup import Picture
from .card.pace import Pace
from .card.style import framed

LABEL: Final = "Spicy Avocado"


class UpdatedDisplay:
    """Drawn in our frame, with a plain twin; a rehearsal is marked in both.

    Args:
        state: Of the service that it tells of.
        pace: How often it may be drawn while it moves.
    """

    def __init__(self, state: State, pace: Pace) -> None:
        self._state, self._pace = state, pace
        self._drawing = Drawing()

    @property
    def is_due(self) -> bool:
        """Whether it may be drawn though more is to come."""
        return self._pace.is_due

    def draw(self, markup: str, text: str) -> None:
        """Show safe markup, and a text from which control characters are gone."""
        is_rehearsal = self._state.rehearsal
        mark = f"{REHEARSAL_MARK}\n" if is_rehearsal else ""
        self._drawing.draw(
            Picture(
                html=framed(markup, phase="ready", label=LABEL, rehearsal=is_rehearsal),
                text=f"{mark}{text}",
            )
        )
        self._pace.note()
