"""HTTP/1.1 client for the engine, with a connection pool.

It uses aiohttp's protocol and parser without its ``ClientSession``, which handles
cookies, redirects and proxies and costs about as much as all else that the gateway
does for a request; ``tests/benchmarks/README.md`` has the figures. The private parts
of aiohttp that it needs are listed in ``tests/gateway/test_aiohttp_internals.py``.
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
"""The engine is paused at twice as many unread bytes."""
_CHUNK_BYTES: Final = 2**20
_IDLE_S: Final = 15.0
"""For how long an idle connection may be reused; aiohttp's own figure."""
_MAX_IDLE: Final = 64


class ConnectError(Exception):
    """No connection could be opened, so the engine received nothing."""


class ReadTimeout(Exception):
    """The engine sent nothing for too long."""


class RemoteProtocolError(Exception):
    """The connection closed too early, or the response is not HTTP."""


class UpstreamConnection(ResponseHandler):
    """aiohttp's client protocol, with a callback in the moment at which bytes arrive.

    Attributes:
        on_progress: Called after new bytes were parsed, and after the end.
        idle_since: Monotonic time of the end of its last response.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.on_progress: Callable[[], None] | None = None
        self.idle_since = 0.0

    def data_received(self, data: bytes) -> None:
        """Parse, then call back; a parser that resumes after a pause passes no data."""
        super().data_received(data)
        if data and self.on_progress is not None:
            self.on_progress()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the response, then call back."""
        super().connection_lost(exc)
        if self.on_progress is not None:
            self.on_progress()


@dataclass(frozen=True, slots=True, eq=False)
class UpstreamResponse:
    """Status and headers of a response, and its body as it arrives."""

    status: int
    headers: CIMultiDictProxy[str]
    content: StreamReader
    connection: UpstreamConnection
    sending: asyncio.Task[None] | None

    @property
    def content_type(self) -> str:
        """The media type without parameters; empty if there is none."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    async def json(self) -> Any:
        """Return the body, parsed.

        Raises:
            ClientError: If the connection broke.
            ValueError: If it is not JSON.
        """
        return json.loads(await self.content.read())

    def close(self) -> None:
        """Release the connection, which closes unless the whole response was read."""
        if self.sending is not None:
            self.sending.cancel()
        if not self.content.is_eof() or self.content.exception() is not None:
            self.connection.close()


class UpstreamClient:
    """Client of one engine at a time, with reused connections."""

    def __init__(self, connect_s: float) -> None:
        """Open no connection yet.

        Args:
            connect_s: Longest wait for a connection, in seconds.
        """
        self._connect_s = connect_s
        self._idle: deque[UpstreamConnection] = deque()
        self._address = ("", 0)

    def close(self) -> None:
        """Close the idle connections."""
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
        """Send a request; return its response as soon as the headers are complete.

        Args:
            base_url: Of the engine: ``http://HOST:PORT``.
            start: Method and target, ``POST /api/chat``.
            headers: Of the request; those that frame the body are added.
            body: Sent while the response is awaited, which may arrive before the end
                of the body.
            silence_s: Longest wait for the headers.

        Raises:
            ConnectError: If there is no connection in time.
            ReadTimeout: If the headers are not complete in time.
            RemoteProtocolError: If the connection closes first.
        """
        host, _, port = base_url.rpartition("//")[2].rpartition(":")
        connection = await self._connect((host, int(port)))
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
                    sending.add_done_callback(lambda _: _start_timeout(wait, silence_s))
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
        content.on_eof(lambda: self._release(connection, sending))
        return UpstreamResponse(
            message.code, message.headers, content, connection, sending
        )

    async def _connect(self, address: tuple[str, int]) -> UpstreamConnection:
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

    def _release(
        self, connection: UpstreamConnection, sending: asyncio.Task[None] | None
    ) -> None:
        is_busy = sending is not None and not sending.done()
        if is_busy or len(self._idle) >= _MAX_IDLE:
            connection.close()
        else:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)


def _start_timeout(wait: asyncio.Timeout, silence_s: float) -> None:
    """Start the time-out, now that the engine has the whole body."""
    with contextlib.suppress(RuntimeError):  # the response came before
        wait.reschedule(asyncio.get_running_loop().time() + silence_s)


async def _send(
    connection: UpstreamConnection, line: str, headers: CIMultiDict[str], body: Body
) -> asyncio.Task[None] | None:
    """Send headers and body; return the task that sends a body in chunks."""
    writer = StreamWriter(connection, asyncio.get_running_loop())
    if isinstance(body, bytes):
        headers["Content-Length"] = str(len(body))
        if len(body) > _CHUNK_BYTES:
            body = _chunks(body)
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
    return asyncio.create_task(_send_chunks(writer, body, connection))


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    """Yield a large body in chunks, between which the loop serves other requests."""
    for start in range(0, len(body), _CHUNK_BYTES):
        yield body[start : start + _CHUNK_BYTES]
        await asyncio.sleep(0)


async def _send_chunks(
    writer: StreamWriter, body: AsyncIterator[bytes], connection: UpstreamConnection
) -> None:
    try:
        async for chunk in body:
            await writer.write(chunk)
        await writer.write_eof()
    except Exception as error:  # noqa: BLE001  (raised where the response is awaited)
        connection.set_exception(error)
        if connection.transport is not None:
            connection.transport.abort()
