"""A link that is slow in total, slow for each connection, and cuts connections."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from aiohttp import hdrs, web

CHUNK_BYTES: Final = 64 * 1024
BURST_S: Final = 0.02
"""What an idle link saves up; more than a timer's error, too little to matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a link allows; 0 is no bound."""

    total_bytes_s: float = 0.0
    connection_bytes_s: float = 0.0
    cut_every_bytes: float = 0.0
    """Mean of what a connection carries until it is cut, at a random byte."""
    seed: int = 0


class Bucket:
    """A token bucket, kept as the time at which all taken bytes have passed."""

    def __init__(self, rate_bytes_s: float) -> None:
        self._rate_bytes_s = rate_bytes_s
        self._free_at = 0.0

    def take(self, count: int, now: float) -> float:
        """Take ``count`` bytes; return when the last of them may be sent."""
        if not self._rate_bytes_s:
            return now
        start = max(self._free_at, now - BURST_S)
        self._free_at = start + count / self._rate_bytes_s
        return self._free_at


class Connection:
    """What one connection may still carry, and how fast."""

    def __init__(self, bucket: Bucket, left_bytes: float) -> None:
        self.bucket = bucket
        self.left_bytes = left_bytes


class Link:
    """One link that every connection of every host goes through."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.sent_bytes = 0
        self.cuts = 0
        self._total = Bucket(shape.total_bytes_s)
        self._chance = random.Random(shape.seed)
        self._connections: WeakKeyDictionary[asyncio.BaseTransport, Connection] = (
            WeakKeyDictionary()
        )

    def connection(self) -> Connection:
        """Return a new connection's own bounds."""
        mean = self.shape.cut_every_bytes
        left = self._chance.expovariate(1 / mean) if mean else float("inf")
        return Connection(Bucket(self.shape.connection_bytes_s), left)

    def admit(
        self, connection: Connection, wanted: int, now: float
    ) -> tuple[int, float]:
        """Let bytes of a connection pass.

        Returns:
            How many may pass before it is cut, and the time to send them at.
        """
        count = int(min(wanted, connection.left_bytes))
        connection.left_bytes -= count
        own = connection.bucket.take(count, now)
        return count, max(own, self._total.take(count, now))

    async def send(
        self, request: web.Request, response: web.StreamResponse, body: memoryview
    ) -> None:
        """Send a body at the link's pace, or as much of it as comes before a cut.

        Raises:
            ConnectionResetError: If the connection was cut, by the link or the client.
        """
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        connection = self._connections.get(transport)
        if connection is None:
            connection = self._connections[transport] = self.connection()
        clock = asyncio.get_running_loop().time
        for at in range(0, len(body), CHUNK_BYTES):
            chunk = body[at : at + CHUNK_BYTES]
            now = clock()
            count, send_at = self.admit(connection, len(chunk), now)
            if send_at > now:
                await asyncio.sleep(send_at - now)
            await response.write(chunk[:count])
            self.sent_bytes += count
            if count < len(chunk):
                self.cuts += 1
                transport.abort()
                raise ConnectionResetError


async def serve_through(
    link: Link, request: web.Request, content: bytes, etag: str
) -> web.StreamResponse:
    """Answer GET or HEAD as a content server does: 200, 206, or 416."""
    named = {hdrs.ETAG: f'"{etag}"', hdrs.ACCEPT_RANGES: "bytes"}
    start, stop = 0, len(content)
    if hdrs.RANGE in request.headers:
        start, stop, _ = request.http_range.indices(len(content))
        if start >= stop:
            beyond = {hdrs.CONTENT_RANGE: f"bytes */{len(content)}"}
            return web.Response(status=416, headers=beyond)
        named[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{len(content)}"
    status = 206 if hdrs.CONTENT_RANGE in named else 200
    response = web.StreamResponse(status=status, headers=named)
    response.content_type = "application/octet-stream"
    response.content_length = stop - start
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        try:
            await link.send(request, response, memoryview(content)[start:stop])
            await response.write_eof()
        except ConnectionResetError:
            pass  # the client has disconnected
    return response
