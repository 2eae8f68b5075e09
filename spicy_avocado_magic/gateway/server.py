"""The port: a loopback socket whose connections speak HTTP/1.1, within bounds."""

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

ADDRESS: Final = "127.0.0.1"
_END_S: Final = 0.5
"""For the handlers' own ``finally`` once they have been cancelled."""
_BACKLOG: Final = 1024
"""Connections that the system keeps until they are taken."""
_LOOKS: Final = 10
"""How often connections are looked at within the shortest wait."""


class _RequestWithExtraHeaders(web.BaseRequest):
    """A request every reply to which, also one of the library's, gets our marks."""

    def __init__(self, marks: ExtraHeaders, *parts: Any) -> None:
        super().__init__(*parts)
        self._marks = marks

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.update(self._marks())


class HttpServer:
    """Hands each request to a handler, which is cancelled when its client leaves.

    Args:
        handler: Answers a request.
        limits: The bounds.
        marks: Returns headers that every reply carries.

    Attributes:
        connections: Those that are open.
    """

    def __init__(
        self, handler: Handler, limits: Limits, marks: ExtraHeaders = dict
    ) -> None:
        self.connections = ConnectionTable(limits)
        self._handler = handler
        self._marks = marks
        self._running: set[asyncio.Task[object]] = set()
        self._manager: web.Server | None = None
        self._server: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self, port: int, address: str = ADDRESS) -> int:
        """Listen, by default on loopback; return the port.

        Args:
            port: The port to take; 0 for any free one.
            address: Of this machine.

        Raises:
            PortInUse: If another program has it.
            GatewayFailed: If the system does not give it.
        """
        loop = asyncio.get_running_loop()
        manager = web.Server(
            self._handle,
            request_factory=lambda *parts: _RequestWithExtraHeaders(
                self._marks, *parts, loop
            ),
            handler_cancellation=True,
        )

        def connection() -> Connection:
            return Connection(self.connections, manager)

        try:
            self._server = await loop.create_server(
                connection, address, port, backlog=_BACKLOG
            )
        except OSError as error:
            raise _listen_error(error, port) from error
        self._manager = manager
        self._watch = asyncio.create_task(self._end_overdue(), name="overdue")
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self, grace_s: float) -> None:
        """Take no more requests, let the open ones end in time, then cut them."""
        server, manager = self._server, self._manager
        self._server = self._manager = None
        if server is None or manager is None:
            return
        if self._watch is not None:
            self._watch.cancel()
        server.close()
        manager.pre_shutdown()
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        for connection in manager.connections:
            if connection.transport is not None:
                connection.transport.abort()
        if self._running:
            await asyncio.wait(self._running, timeout=_END_S)

    async def _end_overdue(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            limits = self.connections.limits
            shortest_s = min(limits.head_wait_s, limits.idle_wait_s, limits.unread_s)
            await asyncio.sleep(shortest_s / _LOOKS)
            self.connections.end_overdue(loop.time())

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
