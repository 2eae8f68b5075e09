"""The gateway: the one port that is exposed, and the order in which it asks."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Mapping
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
from .authorization import AccessPolicy, AuthorizedRequest, Authorizer
from .connection import Connection
from .error_responses import SERVER_NAME, ErrorResponse, quota_exhausted
from .handler import ProxyHandler
from .metrics import Metrics
from .request_context import CLIENT_CLOSED_REQUEST, RequestContext
from .response import fail_stream
from .revocation import cancel_at_expiry, cancel_revoked
from .routes import INFERENCE
from .server import ADDRESS, HttpServer
from .upstream import Upstream

_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_log = logging.getLogger(__name__)


class Gateway:
    """The authenticating proxy between clients and the engine.

    Attributes:
        metrics: What went through it.
        places: Who is with the engine, and who waits.
        pool: Its part in a pool, whose members it answers; None without one.
    """

    def __init__(
        self,
        *,
        access: AccessPolicy,
        policy: Timeouts,
        probe_secret: bytes,
        log: Callable[[str], None] | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            access: What is let through.
            policy: The waits.
            probe_secret: What proves to a probe that this is the gateway.
            log: Takes one JSON line for each request, without line end.
            limits: The bounds; the usual ones by default.
        """
        limits = limits or Limits.from_timeouts(policy)
        self.metrics = Metrics()
        self.places = AdmissionQueue(limits)
        self.pool: Pool | None = None
        self._gate = Authorizer(access)
        self._probe_secret = probe_secret
        self._log = log
        self._rates = RateLimiter()
        self._upstream = Upstream(limits)
        self._service = ProxyHandler(self.places, self._upstream, policy)
        self._listener = HttpServer(self._handle, limits, self._marks)

    @property
    def access(self) -> AccessPolicy:
        """What is let through; a new value holds from the next request on.

        Requests that are under way with a key which is no longer good are ended.
        """
        return self._gate.access

    @access.setter
    def access(self, access: AccessPolicy) -> None:
        self._gate = Authorizer(access)
        cancel_revoked(self.metrics, self._gate.keyring)

    @property
    def limits(self) -> Limits:
        """The bounds; new ones hold from the next request on."""
        return self.places.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self.places.limits = self._upstream.limits = (
            self._listener.connections.limits
        ) = limits

    @property
    def is_blocked_on_engine(self) -> bool:
        """Whether models are used, and nothing else, and no client holds it up."""
        used = [e.route in INFERENCE for e in self.metrics.open if e.is_counted]
        return bool(used) and all(used) and not self.metrics.is_client_slow

    def set_upstream(self, base_url: str | None) -> None:
        """Name the engine, ``http://127.0.0.1:PORT``; None while it is not ready."""
        self._upstream.set(base_url)

    def give_up_upstream(self) -> None:
        """Say that no engine is coming: who waits for it is told, with 503."""
        self._upstream.mark_failed()

    async def start(self, port: int = 0) -> str:
        """Listen on loopback only; return ``http://127.0.0.1:PORT``.

        Raises:
            PortInUse: If that port is in use.
            GatewayFailed: If the system does not give it.
        """
        bound = await self._listener.start(port)
        self._service.open()
        return f"http://{ADDRESS}:{bound}"

    async def stop(self, grace_s: float) -> None:
        """Stop listening; streams that are open after the grace (seconds) are cut."""
        await self._listener.stop(grace_s)
        await self._service.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        exchange = RequestContext(method=request.method, task=asyncio.current_task())
        self.metrics.request_started(exchange, request.writer)
        try:
            response = await self._respond(request, exchange)
            await response.prepare(request)
            await response.write_eof()
            exchange.status = response.status
        except ConnectionError:
            # The client has gone, or was cut off: nobody is left to be told.
            return web.Response(status=CLIENT_CLOSED_REQUEST)
        finally:
            self.metrics.request_finished(exchange)
            if self._log is not None:
                self._log(format_access_line(exchange, request.writer.output_size))
        return response

    async def _respond(
        self, request: web.BaseRequest, exchange: RequestContext
    ) -> web.StreamResponse:
        gate = self._gate
        path, path_key = gate.split_path_key(request.raw_path)
        exchange.route, exchange.dialect = gate.route_label(path), ApiDialect.of(path)
        headers = gate.cors(request.headers)
        try:
            visit = self._admit(gate, request, exchange, path, path_key)
            if request.method == "OPTIONS":
                head = {**gate.preflight(visit), "Server": SERVER_NAME, **headers}
                return web.Response(status=204, headers=head)
            probed = self._probed(request, visit)
            if probed is not None:
                return probed
            with cancel_at_expiry(exchange):
                return await self._service.handle(request, visit, exchange, headers)
        except ErrorResponse as refusal:
            return await self._refused(request, exchange, refusal, headers)
        except asyncio.CancelledError:
            if exchange.ended is None:
                raise
            return await self._refused(request, exchange, exchange.ended, headers)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001  (the client is told, without its text)
            _log.exception("a request to %s failed", exchange.route)
            failed = ErrorResponse(500, "The gateway failed.")
            return await self._refused(request, exchange, failed, headers)

    async def _refused(
        self,
        request: web.BaseRequest,
        exchange: RequestContext,
        refusal: ErrorResponse,
        headers: Mapping[str, str],
    ) -> web.Response:
        """Return the answer to a refusal; tell it in an answer that has begun.

        Raises:
            ConnectionError: In the latter case, since no other answer can follow.
        """
        exchange.status = refusal.status
        if request.writer.output_size:
            await fail_stream(request, exchange, refusal)
            raise ConnectionError
        response = refusal.response(exchange.dialect)
        response.headers.update(headers)
        if exchange.caller is None:
            # What else comes on this connection may be no request at all.
            response.force_close()
        return response

    def _admit(
        self,
        gate: Authorizer,
        request: web.BaseRequest,
        exchange: RequestContext,
        path: str,
        path_key: str | None,
    ) -> AuthorizedRequest:
        if gate.is_public(request.headers):
            exchange.is_public = True
            self.metrics.last_tunnel_request = time.monotonic()
        try:
            _check_transfer(request)
            visit = gate.authorize(request.method, path, path_key, request.headers)
        except ErrorResponse:
            self.metrics.refused += 1
            raise
        if visit.caller is not None:
            exchange.caller = visit.caller
            cast("Connection", request.protocol).mark_authenticated()
            self._check_bounds(exchange, visit.caller)
            self.metrics.admitted(exchange)
        return visit

    def _check_bounds(self, exchange: RequestContext, caller: Caller) -> None:
        """Refuse one request too many of a key, or one beyond its tokens."""
        self._rates.check(caller.name, caller.rpm or self.limits.rpm)
        if caller.tokens:
            exchange.tokens_left = caller.tokens - self.metrics.tokens_of(caller)
            if exchange.tokens_left <= 0:
                raise quota_exhausted(caller.tokens)

    def _probed(
        self, request: web.BaseRequest, visit: AuthorizedRequest
    ) -> web.Response | None:
        """Answer a probe of the public URL, whether or not there is an engine."""
        nonces = request.headers.getall(PROBE_HEADER, [])
        if not nonces or request.method != "GET" or visit.path != "/api/version":
            return None
        if len(nonces) > 1 or not _NONCE.fullmatch(nonces[0]):
            raise ErrorResponse(400, "This is not a probe.")
        answer = self._pool_answer(request, nonces[0])
        answer = answer or gateway_proof(self._probe_secret, nonces[0])
        return web.json_response(
            {}, headers={PROOF_HEADER: answer, "Server": SERVER_NAME}
        )

    def _pool_answer(self, request: web.BaseRequest, nonce: str) -> str | None:
        asked = request.headers.get(POOL_HEADER)
        if self.pool is None or asked is None:
            return None
        return self.pool.answer(nonce, asked, self.access.models)

    def _marks(self) -> dict[str, str]:
        return {} if self.pool is None else {MEMBER_HEADER: self.pool.member}


def _check_transfer(request: web.BaseRequest) -> None:
    """Refuse a framing that the readers before us may see otherwise.

    HTTP/1.0 has no transfer encodings, and their presence there is taken for faulty
    by RFC 9112, section 6.1.

    Raises:
        Refusal: 415 for any but chunks in HTTP/1.1.
    """
    transfer = request.headers.get("Transfer-Encoding")
    if transfer is not None and (
        request.version < HttpVersion11 or transfer.lower() != "chunked"
    ):
        raise ErrorResponse(415, "Send the request body without any encoding.")
