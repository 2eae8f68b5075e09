"""Proxying of one request and its reply between a client and an agent."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

from .http1 import Head, HttpReader
from .session_protocol import Stream

LINGER_S: Final = 10.0
"""Longest wait, in seconds, for a client to read an error and disconnect."""


class ClientConnection:
    """A public connection with its requests, one after the other."""

    def __init__(self, stream: Stream) -> None:
        self.reader = HttpReader(stream[0])
        self.writer = stream[1]

    async def relay(self, request: Head, data: Stream) -> bool:
        """Relay a request and its reply, then close the agent's connection.

        Returns:
            Whether another request may follow on the client's connection.

        Raises:
            UpstreamClosed: If no reply arrived.
            OSError, EOFError, ValueError: If one side broke off.
        """
        sent = asyncio.Event()
        data[1].write(request.raw)
        if not (request.is_chunked or request.length):
            sent.set()
        sending = asyncio.ensure_future(self._send(request, data[1], sent))
        try:
            stays = await self._reply(request, HttpReader(data[0]))
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            data[1].close()
        if not sent.is_set():
            await self._close_gracefully()
        return stays and sent.is_set() and request.is_persistent

    async def _send(
        self, request: Head, upstream: asyncio.StreamWriter, sent: asyncio.Event
    ) -> None:
        try:
            async for part in self.reader.body(request):
                upstream.write(part)
                await upstream.drain()
            sent.set()
            # The upstream must notice that the client has disconnected.
            if not await self.reader.more():
                upstream.write_eof()
        except (OSError, EOFError, ValueError):
            upstream.transport.abort()

    async def _reply(self, request: Head, upstream: HttpReader) -> bool:
        head = None
        while head is None or head.status < 200:  # noqa: PLR2004  (interim ones)
            try:
                head = await upstream.head()
            except (OSError, ValueError) as error:
                raise UpstreamClosed from error
            if head is None:
                raise UpstreamClosed
            self.writer.write(head.raw)
        is_framed = head.is_chunked or head.length is not None
        if head.has_body(request.method):
            async for part in upstream.body(head, to_end=True):
                self.writer.write(part)
                await self.writer.drain()
        await self.writer.drain()
        return head.is_persistent and (is_framed or not head.has_body(request.method))

    async def answer(self, request: Head, reply: bytes) -> bool:
        """Send the edge's own reply; return whether another request may follow."""
        self.writer.write(reply)
        await self.writer.drain()
        async for _ in self.reader.body(request):
            pass
        return request.is_persistent

    async def reject(self, status: str, code: str = "", detail: str = "") -> None:
        """Reply with an error of the service and close the connection."""
        body = f"{detail}\r\n{code}\r\n"
        named = f"Ngrok-Error-Code: {code}\r\n" if code else ""
        head = (
            f"HTTP/1.1 {status}\r\n{named}Connection: close\r\n"
            f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self.writer.write((head + body).encode())
        await self._close_gracefully()

    async def _close_gracefully(self) -> None:
        """Send FIN and read on: closing with unread bytes resets the connection."""
        with contextlib.suppress(OSError, TimeoutError):
            self.writer.write_eof()
            async with asyncio.timeout(LINGER_S):
                await self.reader.skip()


class UpstreamClosed(Exception):
    """The upstream closed, or sent no HTTP, before it had replied."""
