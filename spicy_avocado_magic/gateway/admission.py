"""Places before the engine, and memory for bodies: bounded, shared among callers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ..config.limits import Limits
from .error_responses import RETRY_AFTER_S, ErrorResponse


class AdmissionQueue:
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
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def queued(self) -> int:
        """How many wait for a place."""
        return sum(map(len, self._waiting.values()))

    async def acquire(self, caller: str) -> None:
        """Take a place, at once or when it is one's turn.

        Args:
            caller: Who asks. Callers have turns one after the other, however much
                each of them asks for.

        Raises:
            Refusal: 429 if too many wait already, or if the wait gets too long.
        """
        if self.taken < self.limits.concurrent and not self._waiting:
            self.taken += 1
            return
        if self.queued >= self.limits.queue:
            self._make_room(caller)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        try:
            async with asyncio.timeout(self.limits.queue_wait_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release()  # its turn came in the very moment in which it left
            else:
                self._leave(caller, turn)
            if isinstance(error, TimeoutError):
                raise too_many_requests("No place became free in time.") from error
            raise

    def release(self) -> None:
        """Give a place back; the next caller has it, for what waits longest."""
        self.taken -= 1
        while self._waiting and self.taken < self.limits.concurrent:
            caller = next(iter(self._waiting))
            turns = self._waiting.pop(caller)
            turn = turns.popleft()
            if turns:
                self._waiting[caller] = turns  # behind all the others
            if not turn.done():
                self.taken += 1
                turn.set_result(None)

    def _make_room(self, caller: str) -> None:
        """Send away the latest of whoever has most in the queue.

        Raises:
            Refusal: If that is this caller, or there is none.
        """
        mine = len(self._waiting.get(caller, ()))
        most = max(self._waiting, key=lambda name: len(self._waiting[name]), default="")
        turns = self._waiting.get(most, ())
        if len(turns) <= mine + 1:
            raise too_many_requests("Too many requests are waiting.")
        turn = self._waiting[most].pop()
        if not turn.done():
            turn.set_exception(too_many_requests("Others wait for their turn."))

    def _leave(self, caller: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(caller)
        if turns and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[caller]

    @contextmanager
    def holding(self) -> Iterator[MemoryReservation]:
        """Account for one body for as long as the block runs."""
        hold = MemoryReservation(self)
        try:
            yield hold
        finally:
            hold.release()


class MemoryReservation:
    """The memory of one body."""

    def __init__(self, places: AdmissionQueue) -> None:
        self._places = places
        self._bytes = 0

    def grow(self, to_bytes: int) -> None:
        """Account for a body of this many bytes so far.

        A body may have half of what the others leave, so that the small ones find
        room beside any number of the largest.

        Raises:
            Refusal: 429 if all bodies together would take too much.
        """
        more = to_bytes - self._bytes
        if more <= 0:
            return
        others = self._places.held_bytes - self._bytes
        left = self._places.limits.bodies_bytes - others
        if to_bytes > (left // 2 if others else left):
            raise too_many_requests("Too many large requests are under way.")
        self._places.held_bytes += more
        self._bytes = to_bytes

    def release(self) -> None:
        """Give all of it back, once."""
        self._places.held_bytes -= self._bytes


def too_many_requests(problem: str) -> ErrorResponse:
    """Return the answer to one request too many."""
    return ErrorResponse(
        429,
        f"{problem} Try again in a few seconds.",
        code="rate_limit_exceeded",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
