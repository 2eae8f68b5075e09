"""Connections to the engine: aiohttp's protocol and parser, without its session.

A ``ClientSession`` builds URL, cookies, redirects, proxies and a task for each request,
which costs about as much as all else that the gateway does for it. What the session is
built of is enough for one engine on loopback.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from aiohttp import ClientError, StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict, CIMultiDictProxy

Body = bytes | AsyncIterator[bytes] | None

_READ_BYTES: Final = 2**16
"""The engine is paused once twice as much of its reply waits for a slow client."""
_PIECE_BYTES: Final = 2**20
_IDLE_S: Final = 15.0
"""For how long a connection is good to be used again; aiohttp's own figure."""
_MOST_IDLE: Final = 64


class ConnectError(Exception):
    """No connection could be opened, so the engine has heard nothing."""


class ReadTimeout(Exception):
    """Nothing came for as long as one waits."""


class RemoteProtocolError(Exception):
    """The connection ended too soon, or what came is no HTTP."""


class UpstreamConnection(ResponseHandler):
    """aiohttp's protocol, which also tells in the same moment that something came.

    Attributes:
        on_progress: Called after new bytes were parsed, and after the end.
        idle_since: When its last reply had ended; monotonic.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.on_progress: Callable[[], None] | None = None
        self.idle_since = 0.0

    def data_received(self, data: bytes) -> None:
        """Parse, then tell; a parser that goes on after a pause passes no data."""
        super().data_received(data)
        if data and self.on_progress is not None:
            self.on_progress()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End what is being read, then tell."""
        super().connection_lost(exc)
        if self.on_progress is not None:
            self.on_progress()


@dataclass(frozen=True, slots=True, eq=False)
class UpstreamResponse:
    """The head of a reply, and its body as it comes."""

    status: int
    headers: CIMultiDictProxy[str]
    content: StreamReader
    connection: UpstreamConnection
    sending: asyncio.Task[None] | None

    @property
    def content_type(self) -> str:
        """The media type, without parameters; empty if it is not told."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    async def json(self) -> Any:
        """Return the body, parsed.

        Raises:
            ClientError: If the connection broke.
            ValueError: If it is no JSON.
        """
        return json.loads(await self.content.read())

    def close(self) -> None:
        """Let go of the connection, which ends unless all of the reply was read."""
        if self.sending is not None:
            self.sending.cancel()
        if not self.content.is_eof() or self.content.exception() is not None:
            self.connection.close()


class UpstreamClient:
    """Asks one engine at a time; keeps connections to be used again."""

    def __init__(self, connect_s: float) -> None:
        """Open nothing yet.

        Args:
            connect_s: Longest wait for the engine to accept a connection, in seconds.
        """
        self._connect_s = connect_s
        self._idle: deque[UpstreamConnection] = deque()
        self._address = ("", 0)

    def close(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle:
            self._idle.pop().close()

    async def request(
        self,
        base_url: str,
        start: str,
        headers: CIMultiDict[str],
        body: Body,
        silence_s: float,
    ) -> UpstreamResponse:
        """Send a request; return its reply as soon as the head is there.

        Args:
            base_url: Of the engine: ``http://HOST:PORT``.
            start: Method and target, ``POST /api/chat``.
            headers: Of the request; those that frame the body are added.
            body: Sent while the reply is awaited, since it may come before its end.
            silence_s: Longest wait for the head.

        Raises:
            EngineUnreachable: If there is no connection in time.
            EngineSilent: If there is no head in time.
            EngineBroke: If the connection ends first.
        """
        host, _, port = base_url.rpartition("//")[2].rpartition(":")
        connection = await self._connected((host, int(port)))
        connection.set_response_params(
            skip_payload=start.startswith("HEAD "),
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=_READ_BYTES,
        )
        sending = None
        try:
            sending = await _send(connection, f"{start} HTTP/1.1", headers, body)
            async with asyncio.timeout(None if sending else silence_s) as wait:
                if sending is not None:
                    sending.add_done_callback(lambda _: _begin(wait, silence_s))
                message, content = await connection.read()
                while message.code in (HTTPStatus.CONTINUE, HTTPStatus.EARLY_HINTS):
                    message, content = await connection.read()
        except BaseException as error:
            if sending is not None:
                sending.cancel()
            connection.close()
            if isinstance(error, TimeoutError):
                raise ReadTimeout from error
            if isinstance(error, ClientError | HttpProcessingError | OSError):
                raise RemoteProtocolError from error
            raise
        content.on_eof(lambda: self._put_back(connection, sending))
        return UpstreamResponse(
            message.code, message.headers, content, connection, sending
        )

    async def _connected(self, address: tuple[str, int]) -> UpstreamConnection:
        if address != self._address:
            self.close()
            self._address = address
        oldest = time.monotonic() - _IDLE_S
        while self._idle:
            connection = self._idle.pop()
            is_fresh = connection.is_connected() and connection.idle_since > oldest
            if is_fresh and not connection.should_close:
                return connection
            connection.close()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_s):
                _, connection = await loop.create_connection(
                    lambda: UpstreamConnection(loop), *address
                )
        except OSError as error:
            raise ConnectError from error
        return connection

    def _put_back(
        self, connection: UpstreamConnection, sending: asyncio.Task[None] | None
    ) -> None:
        is_busy = sending is not None and not sending.done()
        if is_busy or len(self._idle) >= _MOST_IDLE:
            connection.close()
        else:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)


def _begin(wait: asyncio.Timeout, silence_s: float) -> None:
    """Let the engine's time begin, now that it has all of the body."""
    with contextlib.suppress(RuntimeError):  # its answer came before
        wait.reschedule(asyncio.get_running_loop().time() + silence_s)


async def _send(
    connection: UpstreamConnection, line: str, headers: CIMultiDict[str], body: Body
) -> asyncio.Task[None] | None:
    """Send head and body; return the task that sends a body which is not yet here."""
    writer = StreamWriter(connection, asyncio.get_running_loop())
    if isinstance(body, bytes):
        headers["Content-Length"] = str(len(body))
        if len(body) > _PIECE_BYTES:
            body = _pieces(body)
    if body is None or isinstance(body, bytes):
        await writer.write_headers(line, headers)
        if body:
            # Not drained: the engine may refuse without reading all of it.
            await writer.write(body, drain=False)
        writer.set_eof()
        return None
    if "Content-Length" not in headers:
        headers["Transfer-Encoding"] = "chunked"
        writer.enable_chunking()
    await writer.write_headers(line, headers)
    return asyncio.create_task(_send_pieces(writer, body, connection))


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    """Let the loop serve others while a large body is written."""
    for start in range(0, len(body), _PIECE_BYTES):
        yield body[start : start + _PIECE_BYTES]
        await asyncio.sleep(0)


async def _send_pieces(
    writer: StreamWriter, body: AsyncIterator[bytes], connection: UpstreamConnection
) -> None:
    try:
        async for piece in body:
            await writer.write(piece)
        await writer.write_eof()
    except Exception as error:  # noqa: BLE001  (told to whoever awaits the reply)
        connection.set_exception(error)
        if connection.transport is not None:
            connection.transport.abort()
