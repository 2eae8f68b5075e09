"""Authenticating reverse proxy: the only port that the tunnel exposes."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from typing import Final, cast

from aiohttp import HttpVersion11, web

from ..config.limits import Limits
from ..config.timeouts import Timeouts
from ..protocol.error_shapes import ApiDialect
from ..protocol.pool import (
    MEMBER_HEADER,
    POOL_HEADER,
    PROBE_HEADER,
    PROOF_HEADER,
    Pool,
    gateway_proof,
)
from .access_log import format_access_line
from .admission import AdmissionQueue
from .authentication import Caller, RateLimiter
from .authorization import AccessPolicy, Authorizer
from .connection import Connection, ConnectionTable
from .cors import preflight_headers
from .counters import Metrics
from .error_responses import SERVER_NAME, ErrorResponse, quota_exhausted
from .forwarder import Forwarder
from .handler import ProxyHandler
from .request_context import CLIENT_CLOSED_REQUEST, RequestContext
from .response import fail_stream
from .revocation import cancel_at_expiry, cancel_revoked
from .server import LOOPBACK, HttpServer
from .upstream import Upstream

_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_log = logging.getLogger(__name__)


class Gateway:
    """Authenticating reverse proxy between clients and the engine.

    Attributes:
        metrics: Its counters.
        queue: Requests with the engine, and those that wait.
        upstream: Address of the engine.
        pool: Membership in a pool; None without one.
    """

    def __init__(
        self,
        *,
        access: AccessPolicy,
        timeouts: Timeouts,
        probe_secret: bytes,
        log: Callable[[str], None] | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Open no port yet.

        Args:
            access: Rules of what is allowed.
            timeouts: Of engine and keep-alive bytes.
            probe_secret: Proves to a probe that it has reached this gateway.
            log: Takes one JSON line for each request, without line end.
            limits: By default those that ``timeouts`` implies.
        """
        limits = limits or Limits.from_timeouts(timeouts)
        self.metrics = Metrics()
        self.queue = AdmissionQueue(limits)
        self.upstream = Upstream(limits)
        self.pool: Pool | None = None
        self._authorizer = Authorizer(access)
        self._probe_secret = probe_secret
        self._log = log
        self._rates = RateLimiter()
        self._forwarder = Forwarder(self.upstream, timeouts)
        self._handler = ProxyHandler(self.queue, self._forwarder, timeouts)
        self._server = HttpServer(self._handle, limits, self._extra_headers)

    @property
    def access(self) -> AccessPolicy:
        """Rules of what is allowed; new ones hold from the next request on.

        Setting them cancels the open requests of keys that are no longer valid.
        """
        return self._authorizer.access

    @access.setter
    def access(self, access: AccessPolicy) -> None:
        self._authorizer = Authorizer(access)
        cancel_revoked(self.metrics, self._authorizer.keys)

    @property
    def limits(self) -> Limits:
        """Limits of memory, time and engine; new ones hold from the next request on."""
        return self.queue.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self.queue.limits = self.upstream.limits = self.connections.limits = limits

    @property
    def connections(self) -> ConnectionTable:
        """Open connections of clients."""
        return self._server.connections

    @property
    def is_blocked_on_engine(self) -> bool:
        """Whether all open requests are inference, and no client delays one."""
        used = [c.route.is_inference for c in self.metrics.open if c.is_counted]
        return bool(used) and all(used) and not self.metrics.is_client_slow

    def set_upstream(self, base_url: str | None) -> None:
        """Set the engine's ``http://127.0.0.1:PORT``; None while it is not ready."""
        self.upstream.set(base_url)

    def give_up_upstream(self) -> None:
        """Answer the requests that wait for the engine with 503: it has failed."""
        self.upstream.mark_failed()

    async def start(self, port: int = 0) -> str:
        """Listen on loopback; return ``http://127.0.0.1:PORT``.

        Raises:
            PortInUse: If that port is in use.
            GatewayFailed: If the system refuses it.
        """
        bound = await self._server.start(port)
        return f"http://{LOOPBACK}:{bound}"

    async def stop(self, grace_s: float) -> None:
        """Stop listening; streams that are open after the grace (seconds) are cut."""
        await self._server.stop(grace_s)
        self._forwarder.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        context = RequestContext(request=request, task=asyncio.current_task())
        self.metrics.request_started(context)
        try:
            response = await self._respond(context)
            await response.prepare(request)
            await response.write_eof()
            context.status = response.status
        except ConnectionError:
            # The client has disconnected, or was cut off: no response can reach it.
            return web.Response(status=CLIENT_CLOSED_REQUEST)
        finally:
            self.metrics.request_finished(context)
            if self._log is not None:
                self._log(format_access_line(context, request.writer.output_size))
        return response

    async def _respond(self, context: RequestContext) -> web.StreamResponse:
        request, authorizer = context.request, self._authorizer
        path, path_key = authorizer.split_path_key(request.raw_path)
        context.path, context.route = path, authorizer.route(path)
        context.dialect = ApiDialect.of(path)
        context.cors = authorizer.cors(request.headers)
        try:
            self._admit(context, authorizer, path_key)
            if request.method == "OPTIONS":
                headers = preflight_headers(context.route.methods)
                headers |= {"Server": SERVER_NAME, **context.cors}
                return web.Response(status=204, headers=headers)
            probed = self._answer_probe(context)
            if probed is not None:
                return probed
            with cancel_at_expiry(context):
                return await self._handler.handle(context)
        except ErrorResponse as error:
            return await self._fail(context, error)
        except asyncio.CancelledError:
            if context.cancelled_by is None:
                raise
            return await self._fail(context, context.cancelled_by)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001  (answered with 500, without its text)
            _log.exception("a request to %s failed", context.route.label)
            return await self._fail(context, ErrorResponse(500, "The gateway failed."))

    async def _fail(
        self, context: RequestContext, error: ErrorResponse
    ) -> web.Response:
        """Return an error response, or end a response that has begun with the error.

        Raises:
            ConnectionError: In the latter case, since no other response can follow.
        """
        context.status = error.status
        if context.request.writer.output_size:
            await fail_stream(context, error)
            raise ConnectionError
        response = error.response(context.dialect)
        response.headers.update(context.cors)
        if context.caller is None:
            # What follows on this connection need not be a request at all.
            response.force_close()
        return response

    def _admit(
        self, context: RequestContext, authorizer: Authorizer, path_key: str | None
    ) -> None:
        request = context.request
        if authorizer.is_public(request.headers):
            context.is_public = True
            self.metrics.last_tunnel_request = time.monotonic()
        try:
            _check_transfer_encoding(request)
            caller = authorizer.authorize(
                request.method, context.path, path_key, request.headers
            )
        except ErrorResponse:
            self.metrics.refused += 1
            raise
        context.models = authorizer.models_of(caller)
        if caller is not None:
            context.caller = caller
            cast("Connection", request.protocol).mark_authenticated()
            self._check_key_limits(context, caller)
            self.metrics.admitted(context)

    def _check_key_limits(self, context: RequestContext, caller: Caller) -> None:
        self._rates.check(caller.name, caller.rpm or self.limits.rpm)
        if caller.tokens:
            context.tokens_left = caller.tokens - self.metrics.tokens_of(caller)
            if context.tokens_left <= 0:
                raise quota_exhausted(caller.tokens)

    def _answer_probe(self, context: RequestContext) -> web.Response | None:
        """Return the proof for a probe of the public URL, with or without an engine."""
        headers = context.request.headers
        nonces = headers.getall(PROBE_HEADER, [])
        is_version = context.request.method == "GET" and context.path == "/api/version"
        if not nonces or not is_version:
            return None
        if len(nonces) > 1 or not _NONCE.fullmatch(nonces[0]):
            raise ErrorResponse(400, "This is not a probe.")
        nonce, proof, member = nonces[0], None, headers.get(POOL_HEADER)
        if self.pool is not None and member is not None:
            proof = self.pool.answer(nonce, member, self.access.models)
        proof = proof or gateway_proof(self._probe_secret, nonce)
        return web.json_response(
            {}, headers={PROOF_HEADER: proof, "Server": SERVER_NAME}
        )

    def _extra_headers(self) -> dict[str, str]:
        return {} if self.pool is None else {MEMBER_HEADER: self.pool.member}


def _check_transfer_encoding(request: web.BaseRequest) -> None:
    """Refuse a framing that a proxy before us may read differently.

    HTTP/1.0 has no transfer encodings, and RFC 9112, section 6.1 calls a message
    with one faulty.

    Raises:
        ErrorResponse: 415 for any but chunked in HTTP/1.1.
    """
    encoding = request.headers.get("Transfer-Encoding")
    if encoding is not None and (
        request.version < HttpVersion11 or encoding.lower() != "chunked"
    ):
        raise ErrorResponse(415, "Send the request body without any encoding.")
