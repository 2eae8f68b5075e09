"""Places before the engine, and memory for bodies: bounded, first come first served."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ..limits import Limits
from .refusal import RETRY_AFTER_S, Refusal


class Places:
    """Who is with the engine, who waits for a place, and what their bodies take.

    Attributes:
        limits: ``concurrent``, ``queue``, ``queue_wait_s`` and ``bodies_bytes`` count.
        taken: Places that are taken now.
        held_bytes: What bodies take now.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.taken = 0
        self.held_bytes = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def queued(self) -> int:
        """How many wait for a place."""
        return len(self._waiting)

    async def take(self) -> None:
        """Take a place, at once or when it is one's turn.

        Raises:
            Refusal: 429 if too many wait already, or if the wait gets too long.
        """
        if self.taken < self.limits.concurrent and not self._waiting:
            self.taken += 1
            return
        if len(self._waiting) >= self.limits.queue:
            raise busy("Too many requests are waiting.")
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self.limits.queue_wait_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.give()  # its turn came in the very moment in which it left
            elif turn in self._waiting:
                self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise busy("No place became free in time.") from error
            raise

    def give(self) -> None:
        """Give a place back; whoever waits longest has it."""
        self.taken -= 1
        while self._waiting and self.taken < self.limits.concurrent:
            turn = self._waiting.popleft()
            if not turn.done():
                self.taken += 1
                turn.set_result(None)

    @contextmanager
    def holding(self) -> Iterator[Hold]:
        """Account for one body for as long as the block runs."""
        hold = Hold(self)
        try:
            yield hold
        finally:
            hold.release()


class Hold:
    """The memory of one body."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._bytes = 0

    def grow(self, to_bytes: int) -> None:
        """Account for a body of this many bytes so far.

        Raises:
            Refusal: 429 if all bodies together would take too much.
        """
        more = to_bytes - self._bytes
        if more <= 0:
            return
        if self._places.held_bytes + more > self._places.limits.bodies_bytes:
            raise busy("Too many large requests are under way.")
        self._places.held_bytes += more
        self._bytes = to_bytes

    def release(self) -> None:
        """Give all of it back."""
        self._places.held_bytes -= self._bytes
        self._bytes = 0


def busy(problem: str) -> Refusal:
    """Return the answer to one request too many."""
    return Refusal(
        429,
        f"{problem} Try again in a few seconds.",
        code="rate_limit_exceeded",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
