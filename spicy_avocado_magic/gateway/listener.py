"""The port: a loopback socket whose connections speak HTTP/1.1, within bounds."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import Final, cast

from aiohttp import web

from ..errors import GatewayFailed, PortTaken
from ..limits import Limits
from .refusal import Dialect, Refusal

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

ADDRESS: Final = "127.0.0.1"
_LINGER_S: Final = 0.5
"""For how long a refused body is still read, so that the refusal arrives."""
_END_S: Final = 0.5
"""For the handlers' own ``finally`` once they have been cancelled."""
_BACKLOG: Final = 1024
"""Connections that the system keeps until they are taken."""
_LOOKS: Final = 10
"""How often the wait for a head is looked at until it is over."""


class Connection(web.RequestHandler):
    """A client's connection, whose protocol errors are answered in our words.

    Attributes:
        deadline: Loop time at which it is closed; None while a request is served.
    """

    def __init__(self, listener: Listener, manager: web.Server) -> None:
        limits = listener.limits
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # as AppRunner does it
            lingering_time=_LINGER_S,
            auto_decompress=False,
            max_line_size=limits.head_bytes,
            max_field_size=limits.head_bytes,
        )
        self._listener = listener
        self._head_bytes = 0
        self._is_idle = False
        self.deadline: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count a stranger, from whom a head must come soon."""
        super().connection_made(transport)
        self._expect_head()
        self._listener.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count it no more."""
        self._listener.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Watch a head grow; one that is too large in all is refused."""
        super().data_received(data)
        if self._waiter is None:
            return  # no head is due: this belongs to a body
        if self._is_idle:
            self._expect_head()
        self._head_bytes += len(data)
        # Once a head is complete its request lies here, until its turn comes.
        if not self._messages and self._head_bytes > self._listener.limits.head_bytes:
            if self.transport is not None:
                self.transport.write(_HEAD_TOO_LARGE)
            self.force_close()

    def begin(self) -> None:
        """A request has its complete head, and is served from now on."""
        self.deadline = None

    def rest(self) -> None:
        """The request has been served; another one may come."""
        self._is_idle, self._head_bytes = True, 0
        self.deadline = self._loop.time() + self._listener.limits.idle_wait_s

    def know(self) -> None:
        """Its client has shown a valid key, so is no stranger any more."""
        self._listener.known(self)

    def _expect_head(self) -> None:
        self._is_idle = False
        self.deadline = self._loop.time() + self._listener.limits.head_wait_s

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,  # noqa: ARG002  (the base's signature)
        message: str | None = None,  # noqa: ARG002  (the base's signature)
    ) -> web.StreamResponse:
        """Answer what is no HTTP; the library's text would repeat the request."""
        if request.writer.output_size > 0:
            raise ConnectionError
        refusal = Refusal(status, "This is not a proper HTTP request.")
        return refusal.response(Dialect.NATIVE)


class Listener:
    """Hands each request to a handler, which is cancelled when its client leaves.

    Attributes:
        limits: The bounds of each connection, and of their number.
    """

    def __init__(self, handler: Handler, limits: Limits) -> None:
        self.limits = limits
        self._handler = handler
        self._running: set[asyncio.Task[object]] = set()
        self._strangers: dict[Connection, None] = {}
        self._open: set[Connection] = set()
        self._manager: web.Server | None = None
        self._server: asyncio.Server | None = None
        self._watch: asyncio.Task[None] | None = None

    async def start(self, port: int) -> int:
        """Listen on loopback; return the port.

        Args:
            port: The port to take; 0 for any free one.

        Raises:
            PortTaken: If another program has it.
            GatewayFailed: If the system does not give it.
        """
        loop = asyncio.get_running_loop()
        manager = web.Server(self._handle, handler_cancellation=True)
        try:
            self._server = await loop.create_server(
                lambda: Connection(self, manager), ADDRESS, port, backlog=_BACKLOG
            )
        except OSError as error:
            raise _listen_error(error, port) from error
        self._manager = manager
        self._watch = asyncio.create_task(self._close_the_slow(), name="slow heads")
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

    def opened(self, connection: Connection) -> None:
        """Take a new connection; the stranger who waits longest makes room for it."""
        self._open.add(connection)
        self._strangers[connection] = None
        if len(self._strangers) > self.limits.strangers:
            oldest = next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.force_close()

    def known(self, connection: Connection) -> None:
        """Count a connection among the strangers no more."""
        self._strangers.pop(connection, None)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._strangers.pop(connection, None)

    async def _close_the_slow(self) -> None:
        """Close connections whose head does not come, or that rest for too long.

        One look at all of them now and then costs less than a timer for each.
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.limits.head_wait_s / _LOOKS)
            now = loop.time()
            for connection in list(self._open):
                if connection.deadline is not None and connection.deadline < now:
                    connection.force_close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        connection = cast("Connection", request.protocol)
        connection.begin()
        self._running.add(task)
        try:
            return await self._handler(request)
        finally:
            self._running.discard(task)
            connection.rest()


_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)


def _listen_error(error: OSError, port: int) -> PortTaken | GatewayFailed:
    if error.errno == errno.EADDRINUSE:
        return PortTaken(
            f"Port {port} is in use by another program.",
            "Choose another with --port N, or leave --port out for any free one.",
        )
    return GatewayFailed(
        f"Cannot listen on port {port}: {error.strerror}.",
        "Choose one above 1023 with --port N, or leave --port out.",
    )
