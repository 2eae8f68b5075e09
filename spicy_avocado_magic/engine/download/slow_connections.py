"""Detection of connections that are far slower than their siblings."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final

_REMEMBERED: Final = 16
_ENOUGH: Final = 3
_COLLAPSED: Final = 8.0


class ConnectionTooSlow(Exception):
    """A connection was closed, since a new one will be faster."""


def is_collapsed(rate: float, finished: deque[float]) -> bool:
    """Return whether a rate is far below the median of the last requests.

    Args:
        rate: Bytes a second.
        finished: Rates of the last requests; False for fewer than three.
    """
    if len(finished) < _ENOUGH:
        return False
    return rate * _COLLAPSED < statistics.median(finished)


class TransferMeter:
    """Byte count of one request."""

    def __init__(self, scope: asyncio.Timeout, began_s: float) -> None:
        self.scope = scope
        self.began_s = began_s
        self.bytes = 0
        self._marked: int | None = None

    def add(self, count: int) -> None:
        """Count bytes."""
        self.bytes += count

    def since_mark(self) -> int | None:
        """Return the bytes since the last call; None at the first."""
        marked, self._marked = self._marked, self.bytes
        return None if marked is None else self.bytes - marked


class SlowConnectionDetector:
    """Cancellation of the requests of one download that are far slower than others.

    The rate of a cancelled request counts too: on a link that has become slow it soon
    is the median, and no more requests are cancelled.

    Args:
        interval_s: Seconds over which a rate is measured.
        clock: Monotonic seconds.
    """

    def __init__(self, interval_s: float, clock: Callable[[], float]) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._meters: set[TransferMeter] = set()
        self._finished: deque[float] = deque(maxlen=_REMEMBERED)

    @contextlib.asynccontextmanager
    async def metered(self) -> AsyncIterator[TransferMeter]:
        """Measure one request.

        Raises:
            ConnectionTooSlow: If the request was cancelled for its rate.
        """
        scope = asyncio.timeout(None)
        try:
            async with scope:
                meter = TransferMeter(scope, self._clock())
                self._meters.add(meter)
                try:
                    yield meter
                finally:
                    self._meters.discard(meter)
                elapsed_s = self._clock() - meter.began_s
                if elapsed_s > 0:
                    self._finished.append(meter.bytes / elapsed_s)
        except TimeoutError as error:
            if scope.expired():
                raise ConnectionTooSlow from error
            raise

    async def watch(self) -> None:
        """Compare at every interval, until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            self.compare()

    def compare(self) -> None:
        """Cancel requests that were too slow since the last comparison."""
        for meter in list(self._meters):
            moved = meter.since_mark()
            if moved is None:
                continue
            rate = moved / self._interval_s
            if is_collapsed(rate, self._finished):
                self._finished.append(rate)
                self._meters.discard(meter)
                meter.scope.reschedule(asyncio.get_running_loop().time())
