"""Streaming of a response body, without a task switch for each chunk.

A task that reads and writes would be woken through the loop for each chunk. Here a
chunk is written while its arrival is still being handled. The task waits for the end,
or for a client so slow that the engine has to be paused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import ClientError, web
from aiohttp.http import StreamWriter

from .upstream_client import ReadTimeout, RemoteProtocolError, UpstreamResponse

OnChunk = Callable[[bytes], Exception | None]

_HIGH_WATER_BYTES: Final = 2**16
"""Unsent bytes from which on a client counts as slow: the transport's default limit,
from which on ``drain`` waits."""


class BodyStreamer:
    """Copies the body of one upstream response into a prepared response."""

    def __init__(
        self, upstream: UpstreamResponse, request: web.BaseRequest, on_chunk: OnChunk
    ) -> None:
        """Copy nothing yet.

        Args:
            upstream: The source.
            request: Of the client.
            on_chunk: Called with each chunk before it is written; what it returns is
                raised once the chunk is written.
        """
        assert request.transport is not None
        assert isinstance(request.writer, StreamWriter)
        self._connection, self._content = upstream.connection, upstream.content
        self._transport, self._writer = request.transport, request.writer
        self._on_chunk = on_chunk
        self._loop = asyncio.get_running_loop()
        self._last_chunk_at = self._loop.time()
        self._woken: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._is_full = self._is_done = False

    async def run(self, silence_s: float) -> None:
        """Return when the whole body is written.

        Args:
            silence_s: Longest time without a byte from the engine.

        Raises:
            ReadTimeout: If the engine sent nothing for so long.
            RemoteProtocolError: If the engine's connection broke before the end.
            ConnectionError: If the client's did.
        """
        self._connection.on_progress = self._copy
        self._timer = self._loop.call_later(silence_s, self._check_silence, silence_s)
        try:
            self._copy()
            while not self._is_done:
                if self._is_full:
                    await self._writer.drain()
                    self._is_full = False
                    # Until now the engine was paused, not silent.
                    self._last_chunk_at = self._loop.time()
                    self._copy()
                else:
                    self._woken = self._loop.create_future()
                    await self._woken
        finally:
            self._timer.cancel()
            if self._connection.on_progress == self._copy:
                self._connection.on_progress = None  # it may serve another request now
        if isinstance(self._failure, ClientError) and not isinstance(
            self._failure, ConnectionError
        ):
            raise RemoteProtocolError from self._failure
        if self._failure is not None:
            raise self._failure

    def _copy(self) -> None:
        """Write the parsed chunks; wake the task at the end or for a slow client.

        While the client is slow nothing is read: aiohttp's reader then pauses the
        engine's transport by itself.
        """
        if self._is_full or self._is_done:
            return
        try:
            while chunk := self._content.read_nowait():
                self._last_chunk_at = self._loop.time()
                error = self._on_chunk(chunk)
                write_without_drain(self._writer, chunk)
                self._failure = error
                unsent_bytes = self._transport.get_write_buffer_size()
                self._is_full = unsent_bytes > _HIGH_WATER_BYTES
                if error is not None or self._is_full:
                    break
            else:
                self._is_done = self._content.is_eof()
        except Exception as error:  # noqa: BLE001  (raised by the task)
            self._failure = error
        self._is_done = self._is_done or self._failure is not None
        if self._is_done or self._is_full:
            self._wake()

    def _check_silence(self, silence_s: float) -> None:
        """End with ``ReadTimeout`` if nothing came for too long.

        One timer for a stream costs less than one for each chunk.
        """
        left_s = self._last_chunk_at + silence_s - self._loop.time()
        if left_s > 0 or self._is_full:
            again_s = left_s if left_s > 0 else silence_s
            self._timer = self._loop.call_later(again_s, self._check_silence, silence_s)
            return
        self._failure = ReadTimeout()
        self._is_done = True
        self._wake()

    def _wake(self) -> None:
        woken, self._woken = self._woken, None
        if woken is not None and not woken.done():
            woken.set_result(None)


def write_without_drain(writer: StreamWriter, chunk: bytes) -> None:
    """Write at once: without ``drain``, the coroutine ends at its first step.

    Raises:
        ConnectionError: If the client has disconnected.
    """
    step = writer.write(chunk, drain=False)
    try:
        step.send(None)
    except StopIteration:
        return
    step.close()
    raise RuntimeError("aiohttp's StreamWriter waited although drain is False")
