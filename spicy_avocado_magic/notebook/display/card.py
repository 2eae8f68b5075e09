"""The live card of an ``up``: redrawn while it moves, and left as it came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from ...errors import AvocadoError
from ...protocol.state import Failure, State
from .render import (
    SnippetLike,
    render_accepted,
    render_progress,
    render_ready,
    render_stopped,
)
from .throttle import RedrawThrottle
from .updatable import UpdatableOutput


class CardView:
    """One display of a notebook.

    Args:
        clock: Seconds of a clock that is never set.
        pace: How often it may be redrawn.
        is_attended: Whether a person looks at it, who need not be told twice.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        pace: RedrawThrottle | None = None,
        *,
        is_attended: bool = False,
    ) -> None:
        self._clock = clock
        self._pace = pace or RedrawThrottle(clock)
        self._is_attended = is_attended
        self._began = clock()
        self._drawing = UpdatableOutput()
        self._last: State | None = None
        self._is_pending = False

    def show(self, state: State) -> None:
        """Draw a state, or keep it for later if the last was drawn just now."""
        self._last, self._is_pending = state, True
        if self._pace.is_due:
            self._draw_pending()

    def show_ready(
        self,
        state: State,
        headline: str,
        *,
        show_key: bool,
        show_token: bool = False,
        snippets: Sequence[SnippetLike] = (),
    ) -> None:
        """Collapse into a summary: URL, key, and code that uses them in folds."""
        self._is_pending = False
        self._drawing.update(
            render_ready(
                state,
                headline,
                show_key=show_key,
                show_token=show_token,
                snippets=snippets,
            )
        )

    def show_accepted(
        self,
        state: State,
        headline: str,
        *,
        show_key: bool,
        show_token: bool = False,
    ) -> None:
        """Say what goes on without this cell, and nothing that will not stay true."""
        self._is_pending = False
        self._drawing.update(
            render_accepted(state, headline, show_key=show_key, show_token=show_token)
        )

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
            self._leave(self._last, error)

    def _draw_pending(self) -> None:
        if self._last is not None and self._is_pending:
            self._is_pending = False
            self._drawing.update(render_progress(self._last, seconds=self._seconds()))
            self._pace.note()

    def _leave(self, state: State, error: BaseException) -> None:
        """Draw what ended before it was ready, and why."""
        failure = None
        if isinstance(error, AvocadoError):
            failure = Failure(
                kind=type(error).__name__,
                problem=error.problem,
                remedy=error.remedy,
                log_tail=error.log_tail,
            )
            error.is_displayed = self._is_attended
        self._drawing.update(
            render_stopped(state, seconds=self._seconds(), failure=failure)
        )

    def _seconds(self) -> float:
        return self._clock() - self._began
