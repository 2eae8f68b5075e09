"""An engine that records its requests, and gateways in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDict

from spicy_avocado_magic.config.limits import Limits
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.gateway.app import Gateway
from spicy_avocado_magic.gateway.authorization import AccessPolicy
from spicy_avocado_magic.system.redaction import Secret
from tests.machine_speed import scaled

from ..real_engines import real_ollama

__all__ = ["real_ollama"]

KEY: Final = "right-key-0123456789"
PUBLIC_HOST: Final = "spicy.ngrok.app"
PROBE_SECRET: Final = b"probe-secret"
WITH_KEY: Final = {"Authorization": f"Bearer {KEY}"}
OWNER: Final = AccessPolicy(
    key=Secret(KEY), public_host=PUBLIC_HOST, models=("tiny", "user/fine:q4")
)


def bounds(**changes: Any) -> Limits:
    """Return the usual bounds with some of them changed."""
    return replace(Limits.from_timeouts(Timeouts()), **changes)


Reply = Callable[[web.BaseRequest, bytes], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request as it reached the engine."""

    method: str
    target: str
    headers: CIMultiDict[str]
    body: bytes


async def _ok(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    return web.json_response({"ok": True})


@dataclass(slots=True)
class Engine:
    """Stand-in for Ollama that records requests and sends a test's response."""

    base_url: str = ""
    seen: list[Seen] = field(default_factory=list)
    reply: Reply = _ok
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the gateway went away before the reply was complete."""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Record a request, then reply."""
        try:
            self.arrived.set()
            body = await request.content.read()  # of any length
            self.seen.append(
                Seen(
                    method=request.method,
                    target=request.raw_path,
                    headers=CIMultiDict(request.headers),
                    body=body,
                )
            )
            return await self.reply(request, body)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise


@dataclass(slots=True)
class Front:
    """A running gateway and a client of it."""

    gateway: Gateway
    url: str
    client: aiohttp.ClientSession
    lines: list[str]

    @property
    def port(self) -> int:
        """The gateway's port."""
        return int(self.url.rsplit(":", 1)[1])

    async def call(
        self, method: str, path: str, **options: Any
    ) -> tuple[int, aiohttp.ClientResponse, bytes]:
        """Return status, reply and body of one request."""
        async with self.client.request(method, self.url + path, **options) as reply:
            return reply.status, reply, await reply.read()


Open = Callable[..., Awaitable[Front]]


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    """An engine stand-in on loopback."""
    stand_in = Engine()
    runner = web.ServerRunner(
        web.Server(stand_in.handle, handler_cancellation=True), shutdown_timeout=0.1
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    stand_in.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield stand_in
    await runner.cleanup()


@pytest.fixture
async def open_gateway(engine: Engine) -> AsyncIterator[Open]:
    """Open gateways in front of the engine; all are closed at the end."""
    fronts: list[Front] = []

    async def open_one(
        access: AccessPolicy = OWNER,
        *,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        **changes: Any,
    ) -> Front:
        lines: list[str] = []
        gateway = Gateway(
            access=replace(access, **changes),
            timeouts=timeouts or Timeouts(),
            probe_secret=PROBE_SECRET,
            log=lines.append,
            limits=limits,
        )
        gateway.set_upstream(engine.base_url)
        url = await gateway.start()
        client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True),
            timeout=aiohttp.ClientTimeout(total=scaled(10)),
        )
        front = Front(gateway=gateway, url=url, client=client, lines=lines)
        fronts.append(front)
        return front

    yield open_one
    for front in fronts:
        await front.client.close()
        await front.gateway.stop(0.1)


@pytest.fixture
async def front(open_gateway: Open) -> Front:
    """A gateway with a key, a public host and two models."""
    return await open_gateway()


async def until(is_so: Callable[[], object]) -> None:
    """Return once a condition holds that sets no event."""
    async with asyncio.timeout(scaled(5)):
        while not is_so():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def exchange(port: int, sent: bytes, *, until: bytes | None = None) -> bytes:
    """Send raw bytes; return what comes back until the end, or until a mark."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    try:
        async with asyncio.timeout(scaled(5)):
            if until is not None:
                return await reader.readuntil(until)
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()
