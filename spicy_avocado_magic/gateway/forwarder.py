"""The engine asked on behalf of a client, again where it has just been restarted."""

from __future__ import annotations

import asyncio
import json
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from ..config.timeouts import Timeouts
from .error_responses import RETRY_AFTER_S, SERVER_NAME, ErrorResponse, engine_loading
from .headers import upstream_request_headers
from .response import ForwardContext, continue_response, send_response
from .routes import BodyKind, Permission
from .upstream import Upstream
from .upstream_client import (
    ConnectError,
    ReadTimeout,
    RemoteProtocolError,
    UpstreamClient,
    UpstreamResponse,
)

_REPEATABLE: Final = (BodyKind.NOTHING, BodyKind.MODEL_CALL, BodyKind.FORM)
"""What may be asked twice: it changes nothing that is installed."""
_NOT_FOUND: Final = 404


class UpstreamDisconnected(Exception):
    """The engine did not answer.

    Attributes:
        has_heard: Whether it may have received the request.
    """

    def __init__(self, *, has_heard: bool) -> None:
        super().__init__(has_heard)
        self.has_heard = has_heard


class Forwarder:
    """Asks one engine on behalf of many clients."""

    def __init__(self, upstream: Upstream, policy: Timeouts) -> None:
        """Open no connection yet; must be made inside the running loop.

        Args:
            upstream: Where the engine is; its limits hold here too.
            policy: ``upstream_connect_s`` and ``retry_every_s`` count.
        """
        self._upstream, self._policy = upstream, policy
        self._link = UpstreamClient(policy.upstream_connect_s)

    def close(self) -> None:
        """Close what is open to the engine."""
        self._link.close()

    async def forward(self, errand: ForwardContext) -> web.StreamResponse:
        """Ask the engine and return its reply, which by then has been passed on.

        Raises:
            Refusal: 502, 503 or 504 if the engine does not answer, or not to its end.
        """
        reply = await self._ask(errand)
        try:
            begun = None
            if errand.patience is not None:
                begun = await errand.patience.end()
            # An answer is a mapping too, and empty: its truth tells nothing.
            silence_s = self._upstream.limits.silence_s
            if begun is not None:
                return await continue_response(errand, reply, begun, silence_s)
            return await send_response(errand, reply, silence_s)
        finally:
            reply.close()

    async def forward_model_list(self, errand: ForwardContext) -> web.Response:
        """Return the engine's list of models without those that are not served.

        Raises:
            Refusal: 502, 503 or 504 if the engine does not answer, or not with a list.
        """
        route, served = errand.visit.route, errand.visit.served
        reply = await self._ask(errand)
        try:
            listed = await reply.json()
            kept = listed | {
                route.list_field: served.filter_listing(listed[route.list_field])
            }
        except (aiohttp.ClientError, LookupError, TypeError, ValueError) as error:
            raise _no_answer() from error
        finally:
            reply.close()
        return web.Response(
            body=json.dumps(kept).encode(),
            content_type="application/json",
            headers={"Server": SERVER_NAME, **errand.headers},
        )

    async def _ask(self, errand: ForwardContext) -> UpstreamResponse:
        """Return a reply whose head is there; wait for an engine that restarts.

        A request during which the engine went away is sent once more, not for ever:
        it may be what ended the engine.
        """
        route, loop = errand.visit.route, asyncio.get_running_loop()
        deadline = loop.time() + self._upstream.limits.hold_wait_s
        if route.level is Permission.OPEN:
            deadline = loop.time()  # strangers cannot make us hold anything
        repeats = 1 if route.body in _REPEATABLE else 0
        while True:
            base_url = await self._upstream.wait(deadline)
            try:
                return await self._ask_once(errand, base_url)
            except UpstreamDisconnected as gone:
                if gone.has_heard and not repeats:
                    raise _no_answer() from gone
                if loop.time() + self._policy.retry_every_s > deadline:
                    raise engine_loading() from gone
                repeats -= gone.has_heard
            await asyncio.sleep(self._policy.retry_every_s)

    async def _ask_once(
        self, errand: ForwardContext, base_url: str
    ) -> UpstreamResponse:
        outgoing, visit = errand.outgoing, errand.visit
        headers = CIMultiDict(Host=base_url.rpartition("/")[2])
        headers.extend(upstream_request_headers(errand.request.headers))
        if visit.route.list_field:
            headers["Accept-Encoding"] = "identity"
        if outgoing.content_type:
            headers["Content-Type"] = outgoing.content_type
        if outgoing.length is not None:
            headers["Content-Length"] = str(outgoing.length)
        method = "GET" if visit.route.list_field else errand.request.method
        silence_s = self._upstream.limits.silence_s
        try:
            reply = await self._link.request(
                base_url, f"{method} {visit.path}", headers, outgoing.body, silence_s
            )
        except ConnectError as error:
            raise UpstreamDisconnected(has_heard=False) from error
        except ReadTimeout as error:
            raise ErrorResponse(
                504, f"The engine said nothing for {silence_s:g} seconds."
            ) from error
        except RemoteProtocolError as error:
            raise UpstreamDisconnected(has_heard=True) from error
        if reply.status == _NOT_FOUND and visit.route.level is not Permission.MANAGE:
            if reply.content_type == "text/plain":
                reply.close()
                raise _no_such_api(visit.path)
            if visit.served.is_pending(outgoing.model):
                # Its files have been deleted: they are fetched again.
                reply.close()
                raise engine_loading()
        return reply


def _no_such_api(path: str) -> ErrorResponse:
    """Return the answer where an older engine's router knows no such path."""
    return ErrorResponse(
        404,
        f"This Ollama is too old for {path}: whoever runs it needs a newer one.",
    )


def _no_answer() -> ErrorResponse:
    return ErrorResponse(
        502,
        "The engine did not answer; try again.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
