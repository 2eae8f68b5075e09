"""A request that was let in: its body, its place before the engine, its answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import HttpVersion11, web

from ..config.timeouts import Policy
from .admission import Hold, Places
from .authorization import Visit
from .error_responses import Refusal, still_loading
from .forwarder import Relay
from .json_body import Outgoing, rewrite
from .keepalive import Patience
from .multipart_body import read_form
from .request_body import read_body, read_on
from .request_context import Exchange
from .response import Errand
from .routes import Sends
from .upstream import Upstream

_V1: Final = "/v1/"


class Service:
    """Serves those who were let in, within the bounds of memory and engine."""

    def __init__(self, places: Places, upstream: Upstream, policy: Policy) -> None:
        """Open nothing yet.

        Args:
            places: Before the engine, and memory for bodies.
            upstream: Where the engine is.
            policy: The waits.
        """
        self._places, self._upstream, self._policy = places, upstream, policy
        self._relay: Relay | None = None

    def open(self) -> None:
        """Be ready to ask the engine; must be called inside the running loop."""
        self._relay = Relay(self._upstream, self._policy)

    async def close(self) -> None:
        """Close what is open to the engine."""
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.close()

    async def serve(
        self,
        request: web.BaseRequest,
        visit: Visit,
        exchange: Exchange,
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
            raise still_loading()
        with self._places.holding() as hold:
            outgoing = await self._outgoing(request, visit, hold)
            if isinstance(outgoing.body, bytes):
                hold.grow(len(outgoing.body))  # escapes may make it longer than it came
            if visit.route.sends is not Sends.ORDER:
                exchange.model = outgoing.model
            errand = Errand(
                request=request,
                visit=visit,
                outgoing=outgoing,
                exchange=exchange,
                headers=headers,
                patience=self._patience(request, visit, outgoing, exchange, headers),
            )
            return await self._run(errand, self._relay)

    async def _run(self, errand: Errand, relay: Relay) -> web.StreamResponse:
        if errand.visit.caller is None:
            # The open routes cost next to nothing; a stranger takes nobody's place.
            return await relay.forward(errand)
        try:
            await self._places.take(errand.visit.caller.name)
            try:
                if errand.visit.route.lists:
                    return await relay.listing(errand)
                return await relay.forward(errand)
            finally:
                self._places.give()
        finally:
            if errand.patience is not None:
                await errand.patience.end()

    def _patience(
        self,
        request: web.BaseRequest,
        visit: Visit,
        outgoing: Outgoing,
        exchange: Exchange,
        headers: Mapping[str, str],
    ) -> Patience | None:
        is_v1_call = visit.path.startswith(_V1) and outgoing.body is not None
        if not is_v1_call or request.version < HttpVersion11:
            return None
        return Patience(
            request, exchange, headers, self._policy, is_stream=outgoing.is_stream
        )

    async def _outgoing(
        self, request: web.BaseRequest, visit: Visit, hold: Hold
    ) -> Outgoing:
        """Return what is to be sent on; nothing of a body was read before."""
        sends, limits = visit.route.sends, self._places.limits
        if sends is Sends.NOTHING or not visit.sent_body:
            return Outgoing()
        _check_framing(request)
        if sends is Sends.BLOB:
            body = read_on(request, limits)
            return Outgoing(body=body, length=request.content_length)
        if sends is Sends.FORM:
            return await read_form(request, visit.served, limits, hold)
        raw = await read_body(request, limits, hold)
        return rewrite(
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
        raise Refusal(415, "Send the request body without any encoding.")
    expected = headers.get("Expect")
    if expected is None or request.version < HttpVersion11:
        return
    if expected.lower() != "100-continue":
        raise Refusal(417, "This expectation cannot be met.")
    if request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
