"""A URL is announced only once it has been proved to lead here."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from spicy_avocado_magic.environment import PLATFORMS
from spicy_avocado_magic.errors import TunnelFailed
from spicy_avocado_magic.host import tunnel_life
from spicy_avocado_magic.host.board import Board
from spicy_avocado_magic.host.context import Context, Log
from spicy_avocado_magic.host.gateway_life import GatewayLife
from spicy_avocado_magic.host.keeper import Readiness
from spicy_avocado_magic.policy import Policy
from spicy_avocado_magic.secrets import Redactor
from spicy_avocado_magic.settings import Settings
from spicy_avocado_magic.state import State
from spicy_avocado_magic.state_folder import StateFolder


class AgentThatLeadsAstray:
    """Stands in for the agent; its endpoint leads to another program."""

    url = ""

    def __init__(self, **_: Any) -> None:
        self.closed = False

    async def fetch(self) -> str:
        """Be there."""
        return "3.30.0"

    async def connect(self, upstream: str, *, domain: str, pool: bool) -> str:
        """Return a URL at which somebody else answers."""
        return self.url

    async def close(self, grace_s: float) -> None:
        """End."""


class NoChildren:
    """Stands in for the record of children."""

    def done(self, name: str) -> None:
        """Forget it."""


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
    monkeypatch.setattr(tunnel_life, "Agent", AgentThatLeadsAstray)
    redact = Redactor()
    context = Context(
        settings=Settings(api_key="key-of-the-test-1"),
        folder=StateFolder(tmp_path),
        policy=Policy(probe_s=0.3),
        platform=PLATFORMS[-1],
        board=Board(State()),
        children=cast("Any", NoChildren()),
        log=Log(tmp_path / "host.log", redact),
        redact=redact,
        probe_secret=b"secret",
    )
    gateway_ready, ready = Readiness(), Readiness()
    gateway_ready.rise()
    life = tunnel_life.TunnelLife(context, GatewayLife(context), gateway_ready)
    try:
        with pytest.raises(TunnelFailed):
            async with asyncio.timeout(5):
                await life.live(ready)
    finally:
        await runner.cleanup()
    assert not ready.has_risen, "the tunnel called itself ready"
    assert context.board.snapshot().url == "", "an unproved URL was announced"
