"""One display of a notebook that is updated in place, a few times a second at most."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..state import State
from ..text import REHEARSAL_MARK
from .view import frame

SHORTEST_PAUSE_S: Final = 0.25


class UpdatedDisplay:
    """Drawn in our frame, with a plain twin; a rehearsal is marked in both.

    Args:
        state: Of the service that it tells of.
        clock: Monotonic, in seconds.
    """

    def __init__(self, state: State, clock: Callable[[], float]) -> None:
        self._state, self._clock = state, clock
        self._handle: Any = None
        self._drawn_at = float("-inf")

    @property
    def is_due(self) -> bool:
        """Whether the last drawing is old enough for another one."""
        return self._clock() - self._drawn_at >= SHORTEST_PAUSE_S

    def draw(self, markup: str, text: str) -> None:
        """Show safe markup, and a text from which control characters are gone."""
        from IPython.display import display

        mark = f"{REHEARSAL_MARK}\n" if self._state.rehearsal else ""
        bundle = {
            "text/html": frame(self._state, markup),
            "text/plain": f"{mark}{text}",
        }
        self._drawn_at = self._clock()
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)
