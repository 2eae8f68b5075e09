"""Forwarding to the engine, with a retry when the engine has just restarted."""

from __future__ import annotations

import asyncio
import json
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict

from ..config.timeouts import Timeouts
from .error_responses import SERVER_NAME, ErrorResponse, engine_loading, retry_later
from .headers import upstream_request_headers
from .keepalive import KeepAlive
from .request_context import RequestContext
from .response import continue_response, send_response
from .routes import BodyKind, Permission
from .upstream import Upstream
from .upstream_client import (
    ConnectError,
    ReadTimeout,
    RemoteProtocolError,
    UpstreamClient,
    UpstreamResponse,
)

_REPEATABLE: Final = (BodyKind.NONE, BodyKind.MODEL_CALL, BodyKind.MULTIPART)
"""Bodies of requests that change nothing, so may be sent twice."""
_NOT_FOUND: Final = 404


class Forwarder:
    """Sends the requests of all clients to one engine."""

    def __init__(self, upstream: Upstream, timeouts: Timeouts) -> None:
        """Open no connection yet.

        Args:
            upstream: Address of the engine; its limits hold here too.
            timeouts: Of which ``upstream_connect_s`` and ``retry_every_s`` are used.
        """
        self._upstream, self._timeouts = upstream, timeouts
        self._client = UpstreamClient(timeouts.upstream_connect_s)

    def close(self) -> None:
        """Close the idle connections to the engine."""
        self._client.close()

    async def forward(
        self, context: RequestContext, keepalive: KeepAlive | None
    ) -> web.StreamResponse:
        """Return the engine's response, which has then been sent to the client.

        Raises:
            ErrorResponse: 502, 503 or 504 if the engine does not answer to the end.
        """
        response = await self._request(context)
        try:
            # Compared with None: a response is a mapping, and an empty one is false.
            begun = None if keepalive is None else await keepalive.end()
            silence_s = self._upstream.limits.silence_s
            if begun is not None:
                return await continue_response(context, response, begun, silence_s)
            return await send_response(context, response, silence_s)
        finally:
            response.close()

    async def forward_model_list(self, context: RequestContext) -> web.Response:
        """Return the engine's list of models, without those that are not served.

        Raises:
            ErrorResponse: 502, 503 or 504 if the engine does not answer with a list.
        """
        field = context.route.list_field
        response = await self._request(context)
        try:
            listing = await response.json()
            kept = listing | {field: context.models.filter_listing(listing[field])}
        except (aiohttp.ClientError, LookupError, TypeError, ValueError) as error:
            raise _no_answer() from error
        finally:
            response.close()
        return web.Response(
            body=json.dumps(kept).encode(),
            content_type="application/json",
            headers={"Server": SERVER_NAME, **context.cors},
        )

    async def _request(self, context: RequestContext) -> UpstreamResponse:
        """Return a response with complete headers; wait for a restarting engine.

        A request during which the engine disconnected is sent only once more: it may
        be what crashed the engine.
        """
        loop, limits = asyncio.get_running_loop(), self._upstream.limits
        deadline = loop.time()  # unauthenticated clients must not make us wait
        if context.route.permission is not Permission.PUBLIC:
            deadline += limits.hold_wait_s
        repeats = 1 if context.route.body in _REPEATABLE else 0
        while True:
            base_url = await self._upstream.wait(deadline)
            try:
                return await self._request_once(context, base_url)
            except (ConnectError, RemoteProtocolError) as error:
                was_sent = isinstance(error, RemoteProtocolError)
                if was_sent and not repeats:
                    raise _no_answer() from error
                if loop.time() + self._timeouts.retry_every_s > deadline:
                    raise engine_loading() from error
                repeats -= was_sent
            await asyncio.sleep(self._timeouts.retry_every_s)

    async def _request_once(
        self, context: RequestContext, base_url: str
    ) -> UpstreamResponse:
        request, route, body = context.request, context.route, context.body
        headers = CIMultiDict(Host=base_url.rpartition("/")[2])
        headers.extend(upstream_request_headers(request.headers))
        method = request.method
        if route.list_field:
            method, headers["Accept-Encoding"] = "GET", "identity"
        if body.content_type:
            headers["Content-Type"] = body.content_type
        if body.length is not None:
            headers["Content-Length"] = str(body.length)
        silence_s = self._upstream.limits.silence_s
        try:
            response = await self._client.request(
                base_url, f"{method} {context.path}", headers, body.content, silence_s
            )
        except ReadTimeout as error:
            raise ErrorResponse(
                504, f"The engine sent nothing for {silence_s:g} seconds."
            ) from error
        if response.status == _NOT_FOUND and route.permission is not Permission.MANAGE:
            if response.content_type == "text/plain":
                response.close()
                raise _outdated_engine(context.path)
            if context.models.is_pending(body.model):
                # Its files were deleted, and are being downloaded again.
                response.close()
                raise engine_loading()
        return response


def _outdated_engine(path: str) -> ErrorResponse:
    return ErrorResponse(
        404,
        f"This Ollama is too old for {path}: whoever runs it needs a newer one.",
    )


def _no_answer() -> ErrorResponse:
    return retry_later(502, "The engine did not answer; try again.")
