"""Handler of authorized requests: body, queue, forwarding."""

from __future__ import annotations

from typing import Final

from aiohttp import HttpVersion11, web

from ..config.timeouts import Timeouts
from .admission import AdmissionQueue, MemoryReservation
from .error_responses import ErrorResponse
from .forwarder import Forwarder
from .json_body import UpstreamBody, sanitize_json_body
from .keepalive import KeepAlive
from .multipart_body import sanitize_transcription_form
from .request_body import iter_body, read_body
from .request_context import RequestContext
from .routes import BodyKind

_V1: Final = "/v1/"
_METHODS_WITH_BODY: Final = ("POST", "DELETE")


class ProxyHandler:
    """Serves authorized requests within the limits of memory and engine."""

    def __init__(
        self, queue: AdmissionQueue, forwarder: Forwarder, timeouts: Timeouts
    ) -> None:
        self._queue, self._forwarder, self._timeouts = queue, forwarder, timeouts

    async def handle(self, context: RequestContext) -> web.StreamResponse:
        """Return the response to a request; its body has not been read yet.

        Raises:
            ErrorResponse: If a limit is exceeded, or the engine does not answer.
        """
        with self._queue.reserve() as reservation:
            body = context.body = await self._read_body(context, reservation)
            if isinstance(body.content, bytes):
                # Escapes can make it longer than it was.
                reservation.grow(len(body.content))
            if context.route.body is not BodyKind.MANAGEMENT:
                context.model = body.model
            if context.caller is None:
                # Public routes cost little; the queue is for callers with a key.
                return await self._forwarder.forward(context, None)
            return await self._forward_in_turn(context, context.caller.name)

    async def _forward_in_turn(
        self, context: RequestContext, caller: str
    ) -> web.StreamResponse:
        keepalive = None
        if (
            context.path.startswith(_V1)
            and context.body.content is not None
            and context.request.version >= HttpVersion11
        ):
            keepalive = KeepAlive(context, self._timeouts)
        try:
            await self._queue.acquire(caller)
            try:
                if context.route.list_field:
                    return await self._forwarder.forward_model_list(context)
                return await self._forwarder.forward(context, keepalive)
            finally:
                self._queue.release()
        finally:
            if keepalive is not None:
                await keepalive.end()

    async def _read_body(
        self, context: RequestContext, reservation: MemoryReservation
    ) -> UpstreamBody:
        """Return the body for the engine, checked and serialised by us."""
        request, kind = context.request, context.route.body
        if kind is BodyKind.NONE or request.method not in _METHODS_WITH_BODY:
            return UpstreamBody()
        _check_framing(request)
        limits = self._queue.limits
        if kind is BodyKind.BLOB:
            content = iter_body(request, limits)
            return UpstreamBody(content=content, length=request.content_length)
        if kind is BodyKind.MULTIPART:
            return await sanitize_transcription_form(
                request, context.models, limits, reservation
            )
        raw = await read_body(request, limits, reservation)
        may_manage = context.caller is not None and context.caller.manage
        return sanitize_json_body(raw, kind, context.models, may_manage=may_manage)


def _check_framing(request: web.BaseRequest) -> None:
    """Refuse encoded bodies, then let a client that waits for it send the body.

    Raises:
        ErrorResponse: 415 for any content encoding, 417 for an unknown expectation.
    """
    headers = request.headers
    if "Content-Encoding" in headers:
        raise ErrorResponse(415, "Send the request body without any encoding.")
    expected = headers.get("Expect")
    if expected is None or request.version < HttpVersion11:
        return
    if expected.lower() != "100-continue":
        raise ErrorResponse(417, "This expectation cannot be met.")
    if request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
