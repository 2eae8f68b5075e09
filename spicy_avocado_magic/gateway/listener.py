"""The port: a loopback socket whose connections speak HTTP/1.1."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiohttp import web

from ..errors import GatewayFailed, PortTaken
from .limits import Limits
from .refusal import Dialect, Refusal

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Marks = Callable[[], Mapping[str, str]]

ADDRESS: Final = "127.0.0.1"
_END_S: Final = 0.5
"""For the handlers' own ``finally`` once they have been cancelled."""


class Connection(web.RequestHandler):
    """A client's connection, whose protocol errors are answered in our words."""

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


class _MarkedRequest(web.BaseRequest):
    """A request every reply to which, also one of the library's, gets our marks."""

    def __init__(self, marks: Marks, *parts: Any) -> None:
        super().__init__(*parts)
        self._marks = marks

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        response.headers.update(self._marks())


class Listener:
    """Hands each request to a handler, which is cancelled when its client leaves.

    Args:
        handler: Answers a request.
        limits: The bounds.
        marks: Returns headers that every reply carries.
    """

    def __init__(self, handler: Handler, limits: Limits, marks: Marks = dict) -> None:
        self._handler = handler
        self._marks = marks
        self._limits = limits
        self._running: set[asyncio.Task[object]] = set()
        self._manager: web.Server | None = None
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> int:
        """Listen on loopback; return the port.

        Args:
            port: The port to take; 0 for any free one.

        Raises:
            PortTaken: If another program has it.
            GatewayFailed: If the system does not give it.
        """
        loop = asyncio.get_running_loop()
        manager = web.Server(
            self._handle,
            request_factory=lambda *parts: _MarkedRequest(self._marks, *parts, loop),
            handler_cancellation=True,
        )

        def connection() -> Connection:
            return Connection(
                manager,
                loop=loop,
                access_log=None,  # type: ignore[arg-type]  # as AppRunner does it
                lingering_time=self._limits.linger_s,
                auto_decompress=False,
            )

        try:
            self._server = await loop.create_server(connection, ADDRESS, port)
        except OSError as error:
            raise _listen_error(error, port) from error
        self._manager = manager
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self, grace_s: float) -> None:
        """Take no more requests, let the open ones end in time, then cut them."""
        server, manager = self._server, self._manager
        self._server = self._manager = None
        if server is None or manager is None:
            return
        server.close()
        manager.pre_shutdown()
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        for connection in manager.connections:
            if connection.transport is not None:
                connection.transport.abort()
        if self._running:
            await asyncio.wait(self._running, timeout=_END_S)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            return await self._handler(request)
        finally:
            self._running.discard(task)


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
