"""The gateway: the one port that is exposed, and the order in which it asks."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiohttp import HttpVersion11, web

from ..policy import Policy
from ..pool import MEMBER_HEADER, POOL_HEADER, Pool
from ..proof import PROBE_HEADER, PROOF_HEADER, proof
from .access import Access, Gate, Visit
from .bodies import read_body, rewrite
from .limits import Limits
from .listener import ADDRESS, Listener
from .metrics import CLIENT_LEFT, Metrics, access_line
from .refusal import SERVER_NAME, Dialect, Refusal, still_loading
from .relay import Body, Relay, cut
from .routes import Level, Sends

_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    """What is known of a request so far, for the access log."""

    route: str = "-"
    status: int = CLIENT_LEFT
    is_admitted: bool = False


class Gateway:
    """The authenticating proxy between clients and the engine.

    Attributes:
        metrics: What went through it.
        pool: Its part in a pool, whose members it answers; None without one.
    """

    def __init__(
        self,
        *,
        access: Access,
        policy: Policy,
        probe_secret: bytes,
        log: Callable[[str], None] | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            access: What is let through.
            policy: The waits; ``upstream_connect_s`` is used.
            probe_secret: What proves to a probe that this is the gateway.
            log: Takes one JSON line for each request, without line end.
            limits: The bounds; those of ``Limits`` by default.
        """
        self.metrics = Metrics()
        self.pool: Pool | None = None
        self._limits = limits or Limits()
        self._gate = Gate(access)
        self._policy = policy
        self._probe_secret = probe_secret
        self._log = log
        self._upstream: str | None = None
        self._relay: Relay | None = None
        self._listener = Listener(self._handle, self._limits, self._marks)

    @property
    def access(self) -> Access:
        """What is let through; a new value holds from the next request on."""
        return self._gate.access

    @access.setter
    def access(self, access: Access) -> None:
        self._gate = Gate(access)

    def set_upstream(self, base_url: str | None) -> None:
        """Name the engine, ``http://127.0.0.1:PORT``; None while it is not ready."""
        self._upstream = base_url and base_url.rstrip("/")

    async def start(self, port: int = 0) -> str:
        """Listen on loopback only; return ``http://127.0.0.1:PORT``.

        Raises:
            PortTaken: If that port is in use.
            GatewayFailed: If the system does not give it.
        """
        bound = await self._listener.start(port)
        self._relay = Relay(self._policy.upstream_connect_s)
        return f"http://{ADDRESS}:{bound}"

    async def stop(self, grace_s: float) -> None:
        """Stop listening; streams that are open after the grace (seconds) are cut."""
        await self._listener.stop(grace_s)
        relay, self._relay = self._relay, None
        if relay is not None:
            await relay.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        started = time.monotonic()
        entry = _Entry()
        self.metrics.opened(request.writer)
        try:
            response = await self._respond(request, entry)
            if not entry.is_admitted:
                # What else comes on this connection may be no request at all.
                response.force_close()
            await response.prepare(request)
            await response.write_eof()
            entry.status = response.status
        except ConnectionError:
            # The client has gone, or was cut off: nobody is left to be told.
            return web.Response(status=CLIENT_LEFT)
        finally:
            self.metrics.closed(request.writer)
            self._write_log(request, entry, time.monotonic() - started)
        return response

    async def _respond(
        self, request: web.BaseRequest, entry: _Entry
    ) -> web.StreamResponse:
        gate = self._gate
        path, path_key = gate.split(request.raw_path)
        entry.route = gate.label(path)
        try:
            if gate.is_public(request.headers):
                self.metrics.last_tunnel_request = time.monotonic()
            visit = self._admit(gate, request, path, path_key)
            entry.is_admitted = True
            if request.method == "OPTIONS":
                allow = ", ".join((*visit.route.methods, "OPTIONS"))
                return web.Response(
                    status=204, headers={"Allow": allow, "Server": SERVER_NAME}
                )
            return self._probed(request, visit) or await self._serve(
                gate, request, visit
            )
        except Refusal as refusal:
            return refusal.response(Dialect.of(path))
        except Exception as error:
            if request.writer.output_size:
                cut(request)
                raise ConnectionError from error
            _log.exception("a request to %s failed", entry.route)
            return Refusal(500, "The gateway failed.").response(Dialect.of(path))

    def _admit(
        self, gate: Gate, request: web.BaseRequest, path: str, path_key: str | None
    ) -> Visit:
        try:
            return gate.admit(request.method, path, path_key, request.headers)
        except Refusal:
            self.metrics.refused += 1
            raise

    def _probed(self, request: web.BaseRequest, visit: Visit) -> web.Response | None:
        """Answer a probe of the public URL, whether or not there is an engine."""
        nonces = request.headers.getall(PROBE_HEADER, [])
        if not nonces or request.method != "GET" or visit.path != "/api/version":
            return None
        if len(nonces) > 1 or not _NONCE.fullmatch(nonces[0]):
            raise Refusal(400, "This is not a probe.")
        answer = self._pool_answer(request, nonces[0])
        answer = answer or proof(self._probe_secret, nonces[0])
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

    async def _serve(
        self, gate: Gate, request: web.BaseRequest, visit: Visit
    ) -> web.StreamResponse:
        if visit.route.level is not Level.OPEN:
            self.metrics.requests += 1
        self.metrics.in_flight += 1
        try:
            body = await self._body(gate, request, visit)
            upstream, relay = self._upstream, self._relay
            if upstream is None or relay is None:
                raise still_loading()
            if visit.route.lists:
                return await relay.listing(visit, upstream, gate.served)
            return await relay.forward(request, visit, upstream, body)
        finally:
            self.metrics.in_flight -= 1

    async def _body(self, gate: Gate, request: web.BaseRequest, visit: Visit) -> Body:
        """Return what is to be sent on; nothing of a body was read before."""
        sends = visit.route.sends
        if sends is Sends.NOTHING or not visit.sent_body:
            return None
        _check_framing(request)
        if sends is Sends.BLOB:
            return request.content.iter_any()
        raw = await read_body(request, self._limits)
        return rewrite(raw, sends, gate.served, manage=gate.access.manage)

    def _write_log(
        self, request: web.BaseRequest, entry: _Entry, elapsed_s: float
    ) -> None:
        if self._log is None:
            return
        line = access_line(
            method=request.method,
            route=entry.route,
            status=entry.status,
            elapsed_s=elapsed_s,
            sent_bytes=request.writer.output_size,
        )
        self._log(line)


def _check_framing(request: web.BaseRequest) -> None:
    """Refuse bodies in wrappings that we would have to undo; then ask for the body.

    Raises:
        Refusal: 415 for any coding, 417 for an expectation that is not known.
    """
    headers = request.headers
    transfer = headers.get("Transfer-Encoding", "chunked")
    if "Content-Encoding" in headers or transfer.lower() != "chunked":
        raise Refusal(415, "Send the request body without any encoding.")
    expected = headers.get("Expect")
    if expected is None or request.version < HttpVersion11:
        return
    if expected.lower() != "100-continue":
        raise Refusal(417, "This expectation cannot be met.")
    if request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
