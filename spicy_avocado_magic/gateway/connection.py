"""Client connections: time-outs, and a limit of unauthenticated ones."""

from __future__ import annotations

import asyncio
import enum
import logging
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from ..config.limits import Limits
from ..protocol.error_shapes import ApiDialect
from .error_responses import ErrorResponse

_FIRST_REQUEST_S: Final = 0.1
"""Within which a new client can send its key before it may be evicted."""
_LINGER_S: Final = 0.5
"""For how long an unauthenticated client's refused body is read, so that it gets the
response.

That of an authenticated client is read for ``body_wait_s``: clients that are cut off
while they send may report a broken pipe instead of the response (seen with
the ``fetch`` of Node).
"""
_HEADERS_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)
_log = logging.getLogger(__name__)


class _Phase(enum.Enum):
    HEADERS = "headers"
    """Headers are expected, or have begun to arrive."""
    HANDLED = "handled"
    IDLE = "idle"
    """Between two requests."""


class ConnectionTable:
    """All open connections, and which of them are unauthenticated.

    Attributes:
        limits: Of each connection, and of the number of unauthenticated ones.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: set[Connection] = set()
        self._unauthenticated: dict[Connection, None] = {}

    @property
    def open(self) -> frozenset[Connection]:
        """All open connections."""
        return frozenset(self._open)

    @property
    def unauthenticated(self) -> int:
        """Number of connections that have not sent a valid key."""
        return len(self._unauthenticated)

    def opened(self, connection: Connection) -> None:
        """Add a connection; the oldest unauthenticated one is closed for it."""
        self._open.add(connection)
        self._unauthenticated[connection] = None
        if len(self._unauthenticated) > self.limits.unauthenticated:
            # Not at once: in a burst, no connection's key has been read yet.
            asyncio.get_running_loop().call_later(_FIRST_REQUEST_S, self._evict)

    def _evict(self) -> None:
        if len(self._unauthenticated) > self.limits.unauthenticated:
            idle = (c for c in self._unauthenticated if not c.has_pending_request)
            oldest = next(idle, None) or next(iter(self._unauthenticated))
            del self._unauthenticated[oldest]
            oldest.abort()

    def mark_authenticated(self, connection: Connection) -> None:
        """Stop counting a connection as unauthenticated."""
        self._unauthenticated.pop(connection, None)

    def closed(self, connection: Connection) -> None:
        """Remove a connection."""
        self._open.discard(connection)
        self._unauthenticated.pop(connection, None)

    def close_overdue(self, now: float) -> None:
        """Close the overdue connections; ``now`` is by the loop's clock.

        One check of all of them now and then costs less than a timer for each.
        """
        for connection in list(self._open):
            if connection.is_overdue(now):
                connection.abort()


class Connection(web.RequestHandler):
    """HTTP/1.1 connection of a client, with our own errors for malformed requests."""

    def __init__(self, connections: ConnectionTable, server: web.Server) -> None:
        max_bytes = connections.limits.head_bytes
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # as AppRunner does it
            lingering_time=_LINGER_S,
            auto_decompress=False,
            max_line_size=max_bytes,
            max_field_size=max_bytes,
        )
        self._connections = connections
        self._phase = _Phase.HEADERS
        self._since = self._loop.time()
        self._header_bytes = 0
        self._unread_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count an unauthenticated connection; its headers must arrive soon."""
        super().connection_made(transport)
        self._connections.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop counting it."""
        self._connections.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse data; refuse headers that are too large in total."""
        super().data_received(data)
        if self._waiter is None:
            return  # no headers are expected: this belongs to a body
        if self._phase is _Phase.IDLE:
            self._enter(_Phase.HEADERS)
        self._header_bytes += len(data)
        # With complete headers, the request waits in ``_messages`` for its turn.
        limit = self._connections.limits.head_bytes
        if not self._messages and self._header_bytes > limit:
            if self.transport is not None:
                self.transport.write(_HEADERS_TOO_LARGE)
            self.force_close()

    def request_started(self) -> None:
        """Note that complete headers are being handled."""
        self._enter(_Phase.HANDLED)
        self._header_bytes = 0

    def request_finished(self) -> None:
        """Note that the response is complete; another request may follow."""
        self._enter(_Phase.IDLE)

    def mark_authenticated(self) -> None:
        """Note that the client has sent a valid key."""
        self._connections.mark_authenticated(self)
        self._lingering_time = self._connections.limits.body_wait_s

    @property
    def has_begun(self) -> bool:
        """Whether headers are expected or have begun to arrive."""
        return self._phase is _Phase.HEADERS

    @property
    def has_pending_request(self) -> bool:
        """Whether a request of it is not answered yet."""
        return self._phase is _Phase.HANDLED or bool(self._messages)

    def is_overdue(self, now: float) -> bool:
        """Return whether nothing was received or sent for too long.

        Args:
            now: By the loop's clock.
        """
        limits = self._connections.limits
        if self._phase is _Phase.HEADERS:
            return now - self._since > limits.head_wait_s
        if self._phase is _Phase.IDLE:
            return now - self._since > limits.idle_wait_s
        transport = self.transport
        unread = transport.get_write_buffer_size() if transport is not None else 0
        if not unread or unread != self._unread_bytes:
            self._unread_bytes, self._since = unread, now
        return now - self._since > limits.unread_s

    def abort(self) -> None:
        """Close it at once, unsent data included."""
        transport = self.transport
        self.force_close()
        if transport is not None:
            transport.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  (the base's signature)
    ) -> web.StreamResponse:
        """Return the response to malformed HTTP; aiohttp's text repeats the request."""
        if request.writer.output_size > 0:
            raise ConnectionError
        error = ErrorResponse(status, "This is not a proper HTTP request.")
        if isinstance(exc, LineTooLong):
            error = ErrorResponse(431, "The headers of this request are too large.")
        return error.response(ApiDialect.NATIVE)

    def log_exception(self, *_args: Any, exc_info: Any = None, **_more: Any) -> None:
        """Log in one line what failed outside a handler, mostly a disconnect.

        Unauthenticated clients could fill the log with aiohttp's tracebacks.
        """
        _log.warning("a connection failed: %s", type(exc_info).__name__)

    def _enter(self, phase: _Phase) -> None:
        self._phase, self._since = phase, self._loop.time()
