"""The live card of ``%avocado_up``: redrawn while the service starts."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ...errors import AvocadoError
from ...protocol.state import Failure, State
from .render import UpResult, render_progress, render_result, render_stopped
from .updatable import RedrawThrottle, UpdatableOutput


class CardView:
    """The card of one ``up`` in a notebook; ``TerminalView`` has the same methods.

    Args:
        clock: Seconds of a monotonic clock.
        throttle: Limit of its redraws.
        is_attended: Whether a person sees the card, so that an error on it need not
            be printed as well.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        throttle: RedrawThrottle | None = None,
        *,
        is_attended: bool = False,
    ) -> None:
        self._clock = clock
        self._throttle = throttle or RedrawThrottle(clock)
        self._is_attended = is_attended
        self._began_s = clock()
        self._output = UpdatableOutput()
        self._last: State | None = None
        self._is_pending = False

    def show(self, state: State) -> None:
        """Draw a state, or keep it for later if the last draw was too recent."""
        self._last, self._is_pending = state, True
        if self._throttle.is_due:
            self._draw_pending()

    def show_result(self, result: UpResult) -> None:
        """Replace the progress with URL, key, and code that uses them."""
        self._is_pending = False
        self._output.update(render_result(result))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._draw_pending()
        elif self._last is not None:
            self._draw_stopped(self._last, error)

    def _draw_pending(self) -> None:
        if self._last is not None and self._is_pending:
            self._is_pending = False
            self._output.update(render_progress(self._last, seconds=self._seconds()))
            self._throttle.record_draw()

    def _draw_stopped(self, state: State, error: BaseException) -> None:
        failure = None
        if isinstance(error, AvocadoError):
            failure = Failure(
                kind=type(error).__name__,
                problem=error.problem,
                remedy=error.remedy,
                log_tail=error.log_tail,
            )
            error.is_displayed = self._is_attended
        self._output.update(
            render_stopped(state, seconds=self._seconds(), failure=failure)
        )

    def _seconds(self) -> float:
        return self._clock() - self._began_s
