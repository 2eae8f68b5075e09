"""Sliding window of a download: segments fetched in parallel, written in order."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import Final

WINDOW_BYTES: Final = 24 << 20
"""The most that is requested beyond the bytes on disk, so the most that is lost."""

SEGMENT_BYTES: Final = 2 << 20
"""Size of one request: small enough that a slow one does not delay many others."""

_BATCH_BYTES: Final = 4 << 20


@dataclass(slots=True, eq=False)
class Segment:
    """A range of bytes, fetched by one connection at a time."""

    start: int
    stop: int | None
    """Offset of the first byte after it; None while the file's size is unknown."""
    position: int
    """Offset of the next byte to arrive."""
    is_claimed: bool = True
    chunks: list[bytes] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether all its bytes have arrived."""
        return self.position == self.stop


class DownloadWindow:
    """The segments to request, those that have arrived, and the next to write.

    Args:
        start: Bytes on disk already.
        size: Bytes of the whole file; None while unknown.
    """

    def __init__(self, start: int, size: int | None) -> None:
        self.size = size
        self.received = start
        """Bytes on disk or in memory."""
        self._written = start
        self._next = start
        self._segments: deque[Segment] = deque()
        self._error: BaseException | None = None
        self._may_claim, self._may_write = asyncio.Event(), asyncio.Event()

    async def claim(self) -> Segment | None:
        """Wait for capacity, then return the next segment; None if all are claimed.

        The caller fetches all of it, or calls ``give_back``.
        """
        while True:
            for segment in self._segments:
                if not segment.is_claimed:
                    segment.is_claimed = True
                    return segment
            if self.size is not None and self._next >= self.size:
                return None
            stop = self._next + SEGMENT_BYTES
            stop = stop if self.size is None else min(stop, self.size)
            if stop <= self._written + WINDOW_BYTES:
                segment = Segment(self._next, stop, self._next)
                self._segments.append(segment)
                self._next = stop
                return segment
            self._may_claim.clear()
            await self._may_claim.wait()

    def give_back(self, segment: Segment) -> None:
        """Leave the rest of a segment to another connection."""
        segment.is_claimed = False
        self._may_claim.set()

    def add(self, segment: Segment, chunk: bytes) -> None:
        """Append bytes to a segment."""
        segment.chunks.append(chunk)
        segment.position += len(chunk)
        self.received += len(chunk)
        if segment is self._segments[0]:
            self._may_write.set()

    async def wait_for_capacity(self) -> None:
        """Wait until less than a window is in memory."""
        while self.received - self._written >= WINDOW_BYTES:
            self._may_claim.clear()
            await self._may_claim.wait()

    async def readable(self) -> bool:
        """Wait until ``take`` has chunks to return; False at the end of the file.

        Raises:
            BaseException: The argument of ``fail``.
        """
        while True:
            if self._error is not None:
                raise self._error
            if self._written == self.size:
                return False
            if self._segments and self._segments[0].chunks:
                return True
            self._may_write.clear()
            await self._may_write.wait()

    def take(self) -> list[bytes]:
        """Return the next chunks in order, a few MiB at most."""
        taken: list[bytes] = []
        taken_bytes = 0
        while self._segments and taken_bytes < _BATCH_BYTES:
            head = self._segments[0]
            taken_bytes += sum(map(len, head.chunks))
            taken += head.chunks
            head.chunks = []
            if not head.is_whole:
                break
            self._segments.popleft()
        return taken

    def written(self, count: int) -> None:
        """Record that ``count`` more bytes are on disk, which frees capacity."""
        self._written += count
        self._may_claim.set()

    def end_at(self, size: int) -> None:
        """Set the size of the whole file."""
        self.size = size
        for segment in self._segments:
            if segment.stop is None or segment.stop > size:
                segment.stop = size
        self._next = min(self._next, size)
        self._may_claim.set()
        self._may_write.set()

    def restart(self, segment: Segment, size: int | None) -> None:
        """Discard all segments but one, which becomes the whole file."""
        segment.start, segment.stop, segment.position = 0, size, 0
        segment.chunks = []
        self._segments = deque([segment])
        self._written = self.received = 0
        self.size = size
        self._next = sys.maxsize if size is None else size

    def fail(self, error: BaseException) -> None:
        """Make ``readable`` raise an error: no more bytes will come."""
        self._error = error
        self._may_write.set()
