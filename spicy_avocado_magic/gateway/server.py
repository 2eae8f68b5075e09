"""HTTP/1.1 server socket, by default on loopback, with time-outs for connections."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, cast

from aiohttp import web

from ..config.limits import Limits
from ..errors import GatewayFailed, PortInUse
from .connection import Connection, ConnectionTable

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
ExtraHeaders = Callable[[], Mapping[str, str]]

LOOPBACK: Final = "127.0.0.1"
_CANCEL_S: Final = 0.5
"""For the ``finally`` of handlers that were cancelled."""
_BACKLOG: Final = 1024
"""Connections that the system queues until they are accepted."""
_CHECKS_PER_TIMEOUT: Final = 10
"""How often connections are checked within the shortest of their time-outs."""


class _RequestWithExtraHeaders(web.BaseRequest):
    """Request that adds the extra headers to all responses, aiohttp's own included."""

    def __init__(self, extra_headers: ExtraHeaders, *parts: Any) -> None:
        super().__init__(*parts)
        self._extra_headers = extra_headers

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.update(self._extra_headers())


class HttpServer:
    """Server that cancels a handler when its client disconnects.

    Attributes:
        connections: The open ones.
    """

    def __init__(
        self, handler: Handler, limits: Limits, extra_headers: ExtraHeaders = dict
    ) -> None:
        """Open no port yet.

        Args:
            handler: Answers a request.
            limits: Of each connection.
            extra_headers: Returns headers that every response carries.
        """
        self.connections = ConnectionTable(limits)
        self._handler = handler
        self._extra_headers = extra_headers
        self._running: set[asyncio.Task[object]] = set()
        self._protocols: web.Server | None = None
        self._server: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self, port: int, address: str = LOOPBACK) -> int:
        """Listen; return the port.

        Args:
            port: 0 for any free one.
            address: Of this machine.

        Raises:
            PortInUse: If another program has the port.
            GatewayFailed: If the system refuses it.
        """
        loop = asyncio.get_running_loop()
        self._protocols = protocols = web.Server(
            self._handle,
            request_factory=lambda *parts: _RequestWithExtraHeaders(
                self._extra_headers, *parts, loop
            ),
            handler_cancellation=True,
        )
        try:
            self._server = await loop.create_server(
                lambda: Connection(self.connections, protocols),
                address,
                port,
                backlog=_BACKLOG,
            )
        except OSError as error:
            raise _listen_error(error, port) from error
        self._watch = asyncio.create_task(self._close_overdue(), name="overdue")
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self, grace_s: float) -> None:
        """Stop listening, wait for open requests up to the grace, then cut them."""
        server, protocols = self._server, self._protocols
        self._server = self._protocols = None
        if server is None or protocols is None:
            return
        if self._watch is not None:
            self._watch.cancel()
        server.close()
        protocols.pre_shutdown()
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        for connection in protocols.connections:
            if connection.transport is not None:
                connection.transport.abort()
        if self._running:
            await asyncio.wait(self._running, timeout=_CANCEL_S)

    async def _close_overdue(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            limits = self.connections.limits
            shortest_s = min(limits.head_wait_s, limits.idle_wait_s, limits.unread_s)
            await asyncio.sleep(shortest_s / _CHECKS_PER_TIMEOUT)
            self.connections.close_overdue(loop.time())

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        connection = cast("Connection", request.protocol)
        connection.request_started()
        self._running.add(task)
        try:
            return await self._handler(request)
        finally:
            self._running.discard(task)
            connection.request_finished()


def _listen_error(error: OSError, port: int) -> PortInUse | GatewayFailed:
    if error.errno == errno.EADDRINUSE:
        return PortInUse(
            f"Port {port} is in use by another program.",
            "Choose another with --port N, or leave --port out for any free one.",
        )
    return GatewayFailed(
        f"Cannot listen on port {port}: {error.strerror}.",
        "Choose one above 1023 with --port N, or leave --port out.",
    )
