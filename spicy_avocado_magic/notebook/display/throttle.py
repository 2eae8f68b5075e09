"""How often a cell draws while it moves, so that a browser can follow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ...config.timeouts import Timeouts

_WINDOW_S: Final = 1.0


class RedrawThrottle:
    """Evenly spread drawings, of which no second has more than the policy allows.

    The last drawing of a display waits for nothing, so a place is kept for it.

    Args:
        clock: Seconds of a clock that is never set.
        policy: How many drawings a second may have.
        ends: How many displays of the cell come to an end.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        policy: Timeouts | None = None,
        *,
        ends: int = 1,
    ) -> None:
        self._clock = clock
        self._most = max(1, (policy or Timeouts()).draws_a_second - ends)
        self._drawn_s: list[float] = []

    @property
    def is_due(self) -> bool:
        """Whether something that moves may be drawn now."""
        now = self._clock()
        self._drawn_s = [at for at in self._drawn_s if now - at <= _WINDOW_S]
        if not self._drawn_s:
            return True
        is_spread = now - self._drawn_s[-1] >= _WINDOW_S / self._most
        return is_spread and len(self._drawn_s) < self._most

    def note(self) -> None:
        """Count a drawing that was sent just now."""
        self._drawn_s.append(self._clock())
