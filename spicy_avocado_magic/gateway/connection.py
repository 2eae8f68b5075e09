"""Clients' connections: how long each may wait, and how many may be strangers'."""

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

_MOMENT_S: Final = 0.1
"""In which a new client can show its key."""
_LINGER_S: Final = 0.5
"""For how long a stranger's refused body is still read, so that the refusal arrives.

A caller's is read for ``body_wait_s``: clients that are cut off while they send may
tell of a broken pipe instead of the answer (seen with the ``fetch`` of Node).
"""
_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"Connection: close\r\nContent-Length: 0\r\n\r\n"
)
_log = logging.getLogger(__name__)


class _Phase(enum.Enum):
    HEAD = "head"
    """A head is due, or has begun to come."""
    SERVED = "served"
    RESTING = "resting"
    """Between two requests."""


class ConnectionTable:
    """All that are open now, and which of them are strangers'.

    Attributes:
        limits: The bounds of each connection, and of the strangers' number.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: set[Connection] = set()
        self._strangers: dict[Connection, None] = {}

    def opened(self, connection: Connection) -> None:
        """Take a new connection; the stranger who waits longest makes room for it."""
        self._open.add(connection)
        self._strangers[connection] = None
        if len(self._strangers) > self.limits.strangers:
            # Not at once: of a burst, nobody's key has been read so far.
            asyncio.get_running_loop().call_later(_MOMENT_S, self._make_room)

    def _make_room(self) -> None:
        if len(self._strangers) > self.limits.strangers:
            waiting = (one for one in self._strangers if not one.has_pending_request)
            oldest = next(waiting, None) or next(iter(self._strangers))
            del self._strangers[oldest]
            oldest.abort()

    def mark_authenticated(self, connection: Connection) -> None:
        """Count a connection among the strangers no more."""
        self._strangers.pop(connection, None)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._strangers.pop(connection, None)

    def end_overdue(self, now: float) -> None:
        """End those that wait for too long; ``now`` is by the loop's clock.

        One look at all of them now and then costs less than a timer for each.
        """
        for connection in list(self._open):
            if connection.is_overdue(now):
                connection.abort()


class Connection(web.RequestHandler):
    """A client's connection, whose protocol errors are answered in our words."""

    def __init__(self, connections: ConnectionTable, server: web.Server) -> None:
        head_bytes = connections.limits.head_bytes
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # as AppRunner does it
            lingering_time=_LINGER_S,
            auto_decompress=False,
            max_line_size=head_bytes,
            max_field_size=head_bytes,
        )
        self._connections = connections
        self._phase = _Phase.HEAD
        self._since = self._loop.time()
        self._head_bytes = 0
        self._unread_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count a stranger, from whom a head must come soon."""
        super().connection_made(transport)
        self._connections.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count it no more."""
        self._connections.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Watch a head grow; one that is too large in all is refused."""
        super().data_received(data)
        if self._waiter is None:
            return  # no head is due: this belongs to a body
        if self._phase is _Phase.RESTING:
            self._enter(_Phase.HEAD)
        self._head_bytes += len(data)
        # Once a head is complete its request lies here, until its turn comes.
        if (
            not self._messages
            and self._head_bytes > self._connections.limits.head_bytes
        ):
            if self.transport is not None:
                self.transport.write(_HEAD_TOO_LARGE)
            self.force_close()

    def request_started(self) -> None:
        """A request has its complete head, and is served from now on."""
        self._enter(_Phase.SERVED)
        self._head_bytes = 0

    def request_finished(self) -> None:
        """The request has been served; another one may come."""
        self._enter(_Phase.RESTING)

    def mark_authenticated(self) -> None:
        """Its client has shown a valid key, so is no stranger any more."""
        self._connections.mark_authenticated(self)
        self._lingering_time = self._connections.limits.body_wait_s

    @property
    def has_pending_request(self) -> bool:
        """Whether it has sent a request that is not answered yet."""
        return self._phase is _Phase.SERVED or bool(self._messages)

    def is_overdue(self, now: float) -> bool:
        """Tell whether nothing came from its client, or went to it, for too long.

        Args:
            now: By the loop's clock.
        """
        limits = self._connections.limits
        if self._phase is _Phase.HEAD:
            return now - self._since > limits.head_wait_s
        if self._phase is _Phase.RESTING:
            return now - self._since > limits.idle_wait_s
        transport = self.transport
        unread = transport.get_write_buffer_size() if transport is not None else 0
        if not unread or unread != self._unread_bytes:
            self._unread_bytes, self._since = unread, now
        return now - self._since > limits.unread_s

    def abort(self) -> None:
        """Close it at once, with whatever is unsent."""
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
        """Answer what is no HTTP; the library's text would repeat the request."""
        if request.writer.output_size > 0:
            raise ConnectionError
        refusal = ErrorResponse(status, "This is not a proper HTTP request.")
        if isinstance(exc, LineTooLong):
            refusal = ErrorResponse(431, "The head of this request is too large.")
        return refusal.response(ApiDialect.NATIVE)

    def log_exception(self, *_args: Any, exc_info: Any = None, **_more: Any) -> None:
        """Tell in one line what failed outside a handler, mostly a client's leaving.

        Strangers could fill the log with the library's stacks.
        """
        _log.warning("a connection failed: %s", type(exc_info).__name__)

    def _enter(self, phase: _Phase) -> None:
        self._phase, self._since = phase, self._loop.time()
