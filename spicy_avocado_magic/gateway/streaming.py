"""The stream: the engine's bytes are on their way as soon as they are parsed.

A task that reads and writes would be woken through the loop for each chunk. Here it
is written while its arrival is still being handled; the task waits for the end, or
for a client so slow that the engine must wait too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import ClientError, web
from aiohttp.http import StreamWriter

from .upstream_client import ReadTimeout, RemoteProtocolError, UpstreamResponse

OnChunk = Callable[[bytes], Exception | None]

_HIGH_WATER: Final = 2**16
"""Bytes for the client from which on it counts as slow: where the transport's own
bound is by default, so that ``drain`` waits."""


class BodyStreamer:
    """Moves the body of one reply into one answer that has been prepared."""

    def __init__(
        self, reply: UpstreamResponse, request: web.BaseRequest, heard: OnChunk
    ) -> None:
        """Move nothing yet.

        Args:
            reply: Whose body it is.
            request: Of the client.
            heard: Called with each chunk before it goes on; what it returns is raised
                as soon as the chunk is written.
        """
        assert request.transport is not None
        assert isinstance(request.writer, StreamWriter)
        self._connection, self._content = reply.connection, reply.content
        self._transport, self._writer = request.transport, request.writer
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._woken: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._is_full = self._is_done = False

    async def run(self, silence_s: float) -> None:
        """Return when all of the body has been written.

        Args:
            silence_s: Longest time without a byte of it.

        Raises:
            EngineSilent: If the engine said nothing for so long.
            EngineBroke: If its connection broke before the end.
            ConnectionError: If the client's did.
        """
        self._connection.on_progress = self._move
        self._timer = self._loop.call_later(silence_s, self._look, silence_s)
        try:
            self._move()
            while not self._is_done:
                if self._is_full:
                    await self._writer.drain()
                    self._is_full = False
                    self._heard_at = self._loop.time()  # until now the engine waited
                    self._move()
                else:
                    self._woken = self._loop.create_future()
                    await self._woken
        finally:
            self._timer.cancel()
            self._let_go()
        if isinstance(self._failure, ClientError) and not isinstance(
            self._failure, ConnectionError
        ):
            raise RemoteProtocolError from self._failure
        if self._failure is not None:
            raise self._failure

    def _move(self) -> None:
        """Write what has been parsed; wake the task where it has something to do.

        While the client is slow nothing is taken: aiohttp's reader then pauses the
        engine's transport by itself.
        """
        if self._is_full or self._is_done:
            return
        try:
            while chunk := self._content.read_nowait():
                self._heard_at = self._loop.time()
                verdict = self._heard(chunk)
                write_without_drain(self._writer, chunk)
                self._failure = verdict
                self._is_full = self._transport.get_write_buffer_size() > _HIGH_WATER
                if verdict is not None or self._is_full:
                    break
            else:
                self._is_done = self._content.is_eof()
        except Exception as error:  # noqa: BLE001  (raised by the task)
            self._failure = error
        self._is_done = self._is_done or self._failure is not None
        if self._is_done or self._is_full:
            self._wake()

    def _look(self, silence_s: float) -> None:
        """End it if nothing came for too long; one look a stream, not one a chunk."""
        left_s = self._heard_at + silence_s - self._loop.time()
        if left_s > 0 or self._is_full:
            again_s = left_s if left_s > 0 else silence_s
            self._timer = self._loop.call_later(again_s, self._look, silence_s)
            return
        self._failure = ReadTimeout()
        self._is_done = True
        self._wake()

    def _wake(self) -> None:
        woken, self._woken = self._woken, None
        if woken is not None and not woken.done():
            woken.set_result(None)

    def _let_go(self) -> None:
        """Hear of the connection no more: it may serve another request by now."""
        if self._connection.on_progress == self._move:
            self._connection.on_progress = None


def write_without_drain(writer: StreamWriter, chunk: bytes) -> None:
    """Write without a wait: undrained, the writer's coroutine ends at its first step.

    Raises:
        ConnectionError: If the client has gone.
    """
    step = writer.write(chunk, drain=False)
    try:
        step.send(None)
    except StopIteration:
        return
    step.close()
    raise RuntimeError("the writer waited")
