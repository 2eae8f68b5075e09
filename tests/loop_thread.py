"""An event loop in a thread, for a world that a test reaches into from outside."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import uvloop

from tests.machine_speed import scaled

T = TypeVar("T")

_JOIN_S: Final = scaled(5.0)


class LoopThread:
    """Runs coroutines for other threads, until it is closed."""

    def __init__(self) -> None:
        # asyncio's own leaks who is let in while a server closes (gh-109564).
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], within_s: float) -> T:
        """Run a coroutine in the loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(within_s)

    def call_soon(self, call: Callable[[], object]) -> None:
        """Have something called in the loop."""
        self._loop.call_soon_threadsafe(call)

    def close(self) -> None:
        """End loop and thread; what still runs in it must have been ended before."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_JOIN_S)
        self._loop.close()
