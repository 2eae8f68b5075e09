"""A request that was let in: its body, its place before the engine, its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import HttpVersion11, web

from ..config.timeouts import Timeouts
from .admission import AdmissionQueue, MemoryReservation
from .authorization import AuthorizedRequest
from .error_responses import ErrorResponse, engine_loading
from .forwarder import Forwarder
from .json_body import UpstreamBody, sanitize_json_body
from .keepalive import KeepAlive
from .multipart_body import sanitize_transcription_form
from .request_body import iter_body, read_body
from .request_context import RequestContext
from .response import ForwardContext
from .routes import BodyKind
from .upstream import Upstream

_V1: Final = "/v1/"


class ProxyHandler:
    """Serves those who were let in, within the bounds of memory and engine."""

    def __init__(
        self, places: AdmissionQueue, upstream: Upstream, policy: Timeouts
    ) -> None:
        """Open nothing yet.

        Args:
            places: Before the engine, and memory for bodies.
            upstream: Where the engine is.
            policy: The waits.
        """
        self._places, self._upstream, self._policy = places, upstream, policy
        self._relay: Forwarder | None = None

    def open(self) -> None:
        """Be ready to ask the engine; must be called inside the running loop."""
        self._relay = Forwarder(self._upstream, self._policy)

    async def close(self) -> None:
        """Close what is open to the engine."""
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.close()

    async def handle(
        self,
        request: web.BaseRequest,
        visit: AuthorizedRequest,
        exchange: RequestContext,
        headers: Mapping[str, str],
    ) -> web.StreamResponse:
        """Answer a request, whose body has not been read yet.

        Args:
            request: Of the client.
            visit: How it was let in.
            exchange: What is known of it so far.
            headers: Further headers of the answer.

        Raises:
            Refusal: If it asks for too much, or the engine does not answer.
        """
        if self._relay is None:
            raise engine_loading()
        with self._places.holding() as hold:
            outgoing = await self._outgoing(request, visit, hold)
            if isinstance(outgoing.body, bytes):
                hold.grow(len(outgoing.body))  # escapes may make it longer than it came
            if visit.route.body is not BodyKind.ORDER:
                exchange.model = outgoing.model
            errand = ForwardContext(
                request=request,
                visit=visit,
                outgoing=outgoing,
                exchange=exchange,
                headers=headers,
                patience=self._patience(request, visit, outgoing, exchange, headers),
            )
            return await self._run(errand, self._relay)

    async def _run(
        self, errand: ForwardContext, relay: Forwarder
    ) -> web.StreamResponse:
        if errand.visit.caller is None:
            # The open routes cost next to nothing; a stranger takes nobody's place.
            return await relay.forward(errand)
        try:
            await self._places.acquire(errand.visit.caller.name)
            try:
                if errand.visit.route.list_field:
                    return await relay.forward_model_list(errand)
                return await relay.forward(errand)
            finally:
                self._places.release()
        finally:
            if errand.patience is not None:
                await errand.patience.end()

    def _patience(
        self,
        request: web.BaseRequest,
        visit: AuthorizedRequest,
        outgoing: UpstreamBody,
        exchange: RequestContext,
        headers: Mapping[str, str],
    ) -> KeepAlive | None:
        is_v1_call = visit.path.startswith(_V1) and outgoing.body is not None
        if not is_v1_call or request.version < HttpVersion11:
            return None
        return KeepAlive(
            request, exchange, headers, self._policy, is_stream=outgoing.is_stream
        )

    async def _outgoing(
        self,
        request: web.BaseRequest,
        visit: AuthorizedRequest,
        hold: MemoryReservation,
    ) -> UpstreamBody:
        """Return what is to be sent on; nothing of a body was read before."""
        sends, limits = visit.route.body, self._places.limits
        if sends is BodyKind.NOTHING or not visit.sent_body:
            return UpstreamBody()
        _check_framing(request)
        if sends is BodyKind.BLOB:
            body = iter_body(request, limits)
            return UpstreamBody(body=body, length=request.content_length)
        if sends is BodyKind.FORM:
            return await sanitize_transcription_form(
                request, visit.served, limits, hold
            )
        raw = await read_body(request, limits, hold)
        return sanitize_json_body(
            raw,
            sends,
            visit.served,
            may_manage=visit.may_manage,
            registries=visit.registries,
        )


def _check_framing(request: web.BaseRequest) -> None:
    """Refuse bodies in wrappings that we would have to undo; then ask for the body.

    Raises:
        Refusal: 415 for any coding, 417 for an expectation that is not known.
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
