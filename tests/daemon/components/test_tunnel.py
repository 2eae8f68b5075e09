"""A URL is announced only once it has been proved to lead here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from aiohttp import web

from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.daemon.components import tunnel
from spicy_avocado_magic.daemon.components.gateway import GatewayComponent
from spicy_avocado_magic.daemon.context import DaemonContext
from spicy_avocado_magic.daemon.restart_loop import Readiness
from spicy_avocado_magic.daemon.state_store import StateStore
from spicy_avocado_magic.errors import AvocadoError, TrafficPolicyRejected, TunnelFailed
from spicy_avocado_magic.protocol.event_log import EventLog
from spicy_avocado_magic.protocol.pool import PROBE_HEADER, PROOF_HEADER, gateway_proof
from spicy_avocado_magic.protocol.state import Phase, State
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.system.platforms import PLATFORMS
from spicy_avocado_magic.system.redaction import Redactor
from spicy_avocado_magic.tunnel.ngrok.provider import NgrokProvider
from spicy_avocado_magic.tunnel.ngrok.traffic_policy import (
    DENIED_HEADER,
    require_key_policy,
)
from tests.machine_speed import scaled

from ...tunnel_parts import serving


class AgentThatLeadsAstray:
    """Stands in for the agent; its endpoint leads to another program."""

    url = ""

    def __init__(self, **_: Any) -> None:
        self.closed = False

    async def connect(
        self, upstream: str, *, domain: str, pool: bool, traffic_policy: str
    ) -> str:
        """Return a URL at which somebody else answers."""
        return self.url

    async def close(self, grace_s: float) -> None:
        """End."""


class AgentWithoutRules:
    """Stands in for the agent of an account with an edge that refuses our rule."""

    asked: ClassVar[list[str]] = []
    url = ""
    denies = False

    def __init__(self, **_: Any) -> None:
        self.asked.clear()

    async def connect(self, _: str, *, traffic_policy: str, **__: object) -> str:
        """Refuse the rule, or take it and let nothing through."""
        self.asked.append(traffic_policy)
        if traffic_policy and not self.denies:
            raise TrafficPolicyRejected("Too many rules.", "Use fewer.")
        return self.url

    async def close(self, grace_s: float) -> None:
        """End."""

    async def wait_exit(self) -> None:
        """Live on."""
        await asyncio.Event().wait()


class NoChildren:
    """Stands in for the record of children."""

    def remove(self, name: str) -> None:
        """Forget it."""


def _context(folder: Path, **settings: Any) -> DaemonContext:
    redact = Redactor()
    return DaemonContext(
        settings=Settings(api_key="key-of-the-test-1", **settings),
        folder=StateFolder(folder),
        timeouts=Timeouts(probe_s=0.3),
        platform=PLATFORMS[-1],
        store=StateStore(State()),
        children=cast("Any", NoChildren()),
        log=EventLog(folder / "flight.log", redact),
        redact=redact,
        probe_secret=b"secret",
    )


def _use(monkeypatch: pytest.MonkeyPatch, agent: type[Any]) -> None:
    """Let ngrok's provider create this agent, and install nothing."""

    async def install(self: NgrokProvider, program: str, timeouts: Timeouts) -> str:
        return "3.30.0"

    monkeypatch.setattr(NgrokProvider, "install", install)
    monkeypatch.setattr(
        NgrokProvider, "create_tunnel", lambda _self, **options: agent(**options)
    )


def _life(
    context: DaemonContext,
    gateway: GatewayComponent | None = None,
    models_ready: Readiness | None = None,
) -> tunnel.TunnelComponent:
    """Return a tunnel component with an open gateway."""
    gateway_ready = Readiness()
    gateway_ready.set_ready()
    return tunnel.TunnelComponent(
        context,
        gateway or GatewayComponent(context),
        gateway_ready,
        models_ready or Readiness(),
    )


async def test_a_url_that_leads_elsewhere_is_never_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program's answer to the nonce is a failed life, without a URL."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"version": "0.34.1"})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    AgentThatLeadsAstray.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    _use(monkeypatch, AgentThatLeadsAstray)
    context = _context(tmp_path)
    ready = Readiness()
    life = _life(context)
    try:
        with pytest.raises(TunnelFailed):
            async with asyncio.timeout(scaled(5)):
                await life.run(ready)
    finally:
        await runner.cleanup()
    assert not ready.was_ready, "the tunnel called itself ready"
    assert context.store.snapshot().url == "", "an unproved URL was announced"


@pytest.mark.parametrize("denies", [True, False])
async def test_a_tunnel_comes_up_without_a_rule_that_ngrok_does_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, denies: bool
) -> None:
    """Refused at once, or found wrong by the probe; one warning says so."""
    context = _context(tmp_path)

    async def answer(request: web.Request) -> web.Response:
        if denies and len(AgentWithoutRules.asked) == 1:
            return web.Response(status=401, headers={DENIED_HEADER: "denied"})
        right = gateway_proof(context.probe_secret, request.headers[PROBE_HEADER])
        return web.Response(headers={PROOF_HEADER: right})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    _use(monkeypatch, AgentWithoutRules)
    monkeypatch.setattr(AgentWithoutRules, "denies", denies)
    ready = Readiness()
    life = _life(context)
    async with serving(app) as AgentWithoutRules.url:
        living = asyncio.create_task(life.run(ready))
        async with asyncio.timeout(scaled(5)):
            await ready.wait_ready()
        living.cancel()
        await asyncio.gather(living, return_exceptions=True)
    assert AgentWithoutRules.asked == [require_key_policy(), ""]
    (warning,) = context.store.snapshot().warnings
    assert "reach this notebook" in warning


@pytest.mark.parametrize("setting", ["no_auth", "path_key"])
async def test_no_rule_where_clients_need_send_no_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    """The edge could not distinguish them from requests without a key."""
    context = _context(tmp_path, **{setting: True})
    _use(monkeypatch, AgentWithoutRules)
    monkeypatch.setattr(AgentWithoutRules, "url", "http://127.0.0.1:9")
    life = _life(context)
    with pytest.raises(AvocadoError):
        await life.run(Readiness())
    assert AgentWithoutRules.asked == [""]
    assert context.store.snapshot().warnings == ()


class AgentThatJoins:
    """Stands in for the agent of a pool's member; signals its connection."""

    gateway: ClassVar[GatewayComponent]
    joined_with: ClassVar[list[tuple[str, tuple[str, ...]]]] = []

    def __init__(self, **_: Any) -> None:
        self.closed = False

    async def close(self, grace_s: float) -> None:
        """End."""

    async def connect(self, _: str, **__: object) -> str:
        """Note what a request would find that came right now."""
        access = self.gateway.gateway.access
        self.joined_with.append((access.public_host, access.models))
        return "http://127.0.0.1:9"


async def test_a_member_joins_the_pool_only_when_it_can_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its models, and open for the domain, before the first request comes."""
    domain = "a.ngrok.app"
    context = _context(tmp_path, pool=True, domain=domain)
    gateway, models_ready, tried = (
        GatewayComponent(context),
        Readiness(),
        asyncio.Event(),
    )
    _use(monkeypatch, AgentThatJoins)
    monkeypatch.setattr(AgentThatJoins, "gateway", gateway, raising=False)
    AgentThatJoins.joined_with.clear()
    living = asyncio.create_task(_life(context, gateway, models_ready).run(Readiness()))
    living.add_done_callback(lambda _: tried.set())
    async with asyncio.timeout(scaled(5)):
        while context.store.snapshot().stage("tunnel").phase is not Phase.WAITING or (
            "pool" not in context.store.snapshot().stage("tunnel").detail
        ):
            await context.store.wait_change()
        assert AgentThatJoins.joined_with == [], (
            "it joined before its models were there"
        )
        gateway.serve(("tiny",))
        models_ready.set_ready()
        await tried.wait()
    assert AgentThatJoins.joined_with == [(domain, ("tiny",))]
    assert isinstance(living.exception(), AvocadoError)
