"""Follows the service's state as a user's display does, and remembers when."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from spicy_avocado_magic.client.control_client import ControlClient
from spicy_avocado_magic.errors import DaemonUnreachable
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.protocol.state_folder import StateFolder

_AGAIN_S = 0.02


class Watch:
    """Every state that the host sent, with the monotonic time of its arrival."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self._seen: list[tuple[float, State]] = []
        self._news = threading.Condition()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Follow no longer; the host's next heartbeat is the last."""
        self._ending.set()

    def first(
        self,
        is_it: Callable[[State], bool],
        *,
        since: float,
        within_s: float,
        description: str,
    ) -> float:
        """Return when a state since a time was first as described.

        Raises:
            AssertionError: If none was in time, with the stages as they are.
        """
        deadline = time.monotonic() + within_s
        with self._news:
            at = 0
            while True:
                for seen, state in self._seen[at:]:
                    if seen >= since and is_it(state):
                        return seen
                at = len(self._seen)
                left_s = deadline - time.monotonic()
                shown = _shown(self._seen[-1][1]) if self._seen else "no state came"
                assert left_s > 0, (
                    f"{description}: not within {within_s:.1f} s; {shown}"
                )
                self._news.wait(min(left_s, 1.0))

    def since(self, since: float) -> list[State]:
        """Return all states that came since a time."""
        with self._news:
            return [state for seen, state in self._seen if seen >= since]

    def _follow(self) -> None:
        while not self._ending.is_set():
            try:
                for state in ControlClient(self._folder.socket).follow():
                    if self._ending.is_set():
                        return
                    with self._news:
                        self._seen.append((time.monotonic(), state))
                        self._news.notify_all()
            except DaemonUnreachable:
                pass
            self._ending.wait(_AGAIN_S)


def texts(state: State) -> list[str]:
    """Return every text of a state that its reader sees."""
    failures = [model.failure for model in state.models]
    failures += [stage.failure for stage in state.stages]
    messages = [
        f"{failure.problem} {failure.remedy} {' '.join(failure.log_tail)}"
        for failure in failures
        if failure is not None
    ]
    return [*messages, *(stage.detail for stage in state.stages), *state.warnings]


def _shown(state: State) -> str:
    return "; ".join(f"{s.name} {s.phase}: {s.detail}" for s in state.stages)
