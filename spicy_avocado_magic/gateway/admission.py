"""Admission control: a fair queue before the engine, and a memory budget for bodies."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from ..config.limits import Limits
from .error_responses import ErrorResponse, retry_later


class AdmissionQueue:
    """Limit of concurrent requests, with a queue that is fair among API keys.

    Attributes:
        limits: Of which ``concurrent``, ``queue``, ``queue_wait_s`` and
            ``bodies_bytes`` are used.
        active: Requests that are with the engine.
        reserved_bytes: Memory that request bodies take.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.active = 0
        self.reserved_bytes = 0
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @property
    def queued(self) -> int:
        """Requests that wait for a slot."""
        return sum(map(len, self._waiting.values()))

    async def acquire(self, caller: str) -> None:
        """Take a slot, waiting in the queue until one is free.

        Args:
            caller: Name of the API key. Keys take turns, however many requests each
                of them has in the queue.

        Raises:
            ErrorResponse: 429 if the queue is full or the wait too long.
        """
        if self.active < self.limits.concurrent and not self._waiting:
            self.active += 1
            return
        if self.queued >= self.limits.queue:
            self._evict_for(caller)
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        try:
            async with asyncio.timeout(self.limits.queue_wait_s):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release()  # the slot was granted while the request was leaving
            else:
                self._leave(caller, turn)
            if isinstance(error, TimeoutError):
                raise too_many_requests(
                    "The request waited too long in the queue."
                ) from error
            raise

    def release(self) -> None:
        """Give a slot back; the oldest request of the next key gets it."""
        self.active -= 1
        while self._waiting and self.active < self.limits.concurrent:
            caller = next(iter(self._waiting))
            turns = self._waiting.pop(caller)
            turn = turns.popleft()
            if turns:
                self._waiting[caller] = turns  # behind all other keys
            if not turn.done():
                self.active += 1
                turn.set_result(None)

    def _evict_for(self, caller: str) -> None:
        """Refuse the newest request of the key that has most of them in the queue.

        Raises:
            ErrorResponse: 429 if that key is the caller's, or the queue is empty.
        """
        own = len(self._waiting.get(caller, ()))
        most = max(self._waiting, key=lambda name: len(self._waiting[name]), default="")
        turns = self._waiting.get(most, ())
        if len(turns) <= own + 1:
            raise too_many_requests("The queue is full.")
        turn = self._waiting[most].pop()
        if not turn.done():
            turn.set_exception(
                too_many_requests("The queue is full, and other keys had fewer in it.")
            )

    def _leave(self, caller: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(caller)
        if turns and turn in turns:
            turns.remove(turn)
            if not turns:
                del self._waiting[caller]

    @contextmanager
    def reserve(self) -> Iterator[MemoryReservation]:
        """Provide a memory reservation for one body, released after the block."""
        reservation = MemoryReservation(self)
        try:
            yield reservation
        finally:
            self.reserved_bytes -= reservation.size_bytes


class MemoryReservation:
    """Part of the memory budget that one request body takes."""

    def __init__(self, queue: AdmissionQueue) -> None:
        self._queue = queue
        self.size_bytes = 0

    def grow(self, to_bytes: int) -> None:
        """Raise the reservation to this size; a smaller one changes nothing.

        A body may take half of what the others leave, so that small bodies fit beside
        any number of the largest.

        Raises:
            ErrorResponse: 429 if all bodies together would exceed the budget.
        """
        if to_bytes <= self.size_bytes:
            return
        others = self._queue.reserved_bytes - self.size_bytes
        left = self._queue.limits.bodies_bytes - others
        if to_bytes > (left // 2 if others else left):
            raise too_many_requests("Too many large requests are in progress.")
        self._queue.reserved_bytes = others + to_bytes
        self.size_bytes = to_bytes


def too_many_requests(problem: str) -> ErrorResponse:
    """Return a 429 that asks the client to retry."""
    message = f"{problem} Try again in a few seconds."
    return retry_later(429, message, code="rate_limit_exceeded")
