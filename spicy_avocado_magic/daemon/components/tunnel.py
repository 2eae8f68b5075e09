"""The tunnel as a component: agent, endpoint, and the proof that it leads to us."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from ...config.timeouts import Timeouts
from ...config.tunnel import TUNNEL
from ...errors import LOG_LINES_SHOWN, AvocadoError, TrafficPolicyRejected, TunnelFailed
from ...gateway.counters import Metrics
from ...protocol.pool import gateway_proof
from ...protocol.state import Phase
from ...system.processes import Identity
from ...tunnel.probe import probe
from ...tunnel.provider import SessionEvent, Tunnel, TunnelEvents
from ..context import DaemonContext, RedactedLog
from ..restart_loop import Readiness, first_completed
from .gateway import GatewayComponent
from .pool import PoolMembership

_UNGUARDED: Final = (
    "So requests without any key reach this notebook, which refuses them itself."
)


class _Hung(Exception):
    """The agent runs, and does not do its work."""

    def __init__(self, error: TunnelFailed) -> None:
        super().__init__(error)
        self.error = error


class TunnelComponent:
    """Keeps one public URL leading to the gateway."""

    def __init__(
        self,
        context: DaemonContext,
        gateway: GatewayComponent,
        gateway_ready: Readiness,
        models_ready: Readiness,
    ) -> None:
        self._context, self._gateway = context, gateway
        self._gateway_ready, self._models_ready = gateway_ready, models_ready
        self._session = Readiness()
        self._pool = PoolMembership(context, gateway)
        counts = context.store.live_fields
        context.store.live_fields = lambda: {**counts(), **self._facts()}
        self._without_rule = ""
        self._agent_log = RedactedLog(context.folder.log("agent"), context.redact)

    async def run(self, ready: Readiness) -> None:
        """Fetch the agent, connect, prove the URL, and watch all three."""
        context = self._context
        board, settings, policy = context.store, context.settings, context.timeouts
        await self._pool.join()
        if settings.local:
            await self._stay_off(ready)
        board.stage("tunnel", Phase.STARTING, f"installing the {TUNNEL.name} agent")
        provider, program = context.provider, settings.sources.tunnel_program
        agent = provider.create_tunnel(
            program=program,
            config_path=context.folder.agent_config,
            timeouts=policy,
            events=TunnelEvents(
                on_line=self._agent_log,
                on_spawn=self._on_spawn,
                on_session=self._on_session,
            ),
        )
        grace_s = policy.tunnel_stop_s
        try:
            version = await provider.install(program, policy)
            await self._gateway_ready.wait_ready()
            if settings.pool:
                # The others' clients must not reach one that cannot answer yet.
                board.stage("tunnel", Phase.WAITING, "joins the pool with its models")
                await self._models_ready.wait_ready()
                self._gateway.set_public_host(settings.domain)
            board.stage(
                "tunnel", Phase.STARTING, f"{TUNNEL.name} {version}: connecting"
            )
            url = await self._open(agent, version)
            board.update(url=url)
            ready.set_ready()
            await first_completed(
                self._watch_exit(agent),
                self._watch_session(url),
                self._pool.watch(url),
                self._watch_health(agent, url),
                self._gateway_ready.wait_unready(),
            )
        except _Hung as hung:
            grace_s = 0.0  # it would not hear that it is to end
            board.fail("tunnel", hung.error, again=True)
            raise hung.error from None
        finally:
            ready.set_unready()
            self._gateway.set_public_host("")
            await agent.close(grace_s)
            context.children.remove("agent")

    async def _open(self, agent: Tunnel, version: str) -> str:
        """Connect and prove the URL; without the traffic policy if it is refused.

        The policy requires a key in a header, so none is used where clients need not
        send one.
        """
        settings = self._context.settings
        self._without_rule = ""
        traffic_policy = self._context.provider.traffic_policy()
        if traffic_policy and not (settings.no_auth or settings.path_key):
            try:
                return await self._connect(agent, version, traffic_policy)
            except TrafficPolicyRejected as error:
                self._context.log(f"tunnel: {error}")
                self._without_rule = f"{error.problem} {_UNGUARDED}"
        return await self._connect(agent, version, "")

    async def _connect(self, agent: Tunnel, version: str, traffic_policy: str) -> str:
        board, settings = self._context.store, self._context.settings
        url = await agent.connect(
            board.snapshot().local_url,
            domain=settings.domain,
            pool=settings.pool,
            traffic_policy=traffic_policy,
        )
        self._session.set_ready()
        self._gateway.set_public_host(urlsplit(url).netloc)
        board.stage("tunnel", Phase.READY, f"{TUNNEL.name} {version}")
        await self._prove(url)
        return url

    def _facts(self) -> dict[str, Any]:
        facts = self._pool.facts()
        warnings = (self._without_rule,) if self._without_rule else ()
        return {**facts, "warnings": (*warnings, *facts.get("warnings", ()))}

    async def _stay_off(self, ready: Readiness) -> None:
        self._context.store.update(url="")
        for stage in ("tunnel", "probe"):
            self._context.store.stage(stage, Phase.OFF, "not wanted (--local)")
        ready.set_ready()
        await asyncio.Event().wait()

    async def _prove(self, url: str) -> None:
        board = self._context.store
        board.stage("probe", Phase.STARTING, f"calling {url}")
        if await self._pool.prove(url):
            board.stage("probe", Phase.READY, f"{url} leads to the pool")
            return
        await self._call(url, self._context.timeouts.probe_s)
        board.stage("probe", Phase.READY, f"{url} leads here")

    async def _call(self, url: str, within_s: float) -> None:
        nonce = secrets.token_hex(16)
        expect = gateway_proof(self._context.probe_secret, nonce)
        provider = self._context.provider
        await probe(url, provider, nonce=nonce, expect=expect, deadline_s=within_s)

    async def _watch_health(self, agent: Tunnel, url: str) -> None:
        metrics, policy = self._gateway.gateway.metrics, self._context.timeouts
        prove = partial(self._call, url)
        raise _Hung(await wait_until_unresponsive(agent, metrics, prove, policy))

    async def _watch_exit(self, agent: Tunnel) -> None:
        await agent.wait_exit()
        raise TunnelFailed(
            f"The {TUNNEL.name} agent ended unexpectedly.",
            "It is started again, with the same URL.",
            log_tail=self._agent_log.tail(LOG_LINES_SHOWN),
        )

    async def _watch_session(self, url: str) -> None:
        """Prove the URL again after each reconnect, and after long silence."""
        policy, board = self._context.timeouts, self._context.store
        while True:
            if self._session.is_up:
                await self._idle_or_lost(policy.probe_idle_s)
            if not self._session.is_up:
                board.stage("probe", Phase.BACKOFF, "the tunnel is reconnecting")
                await self._session.wait_ready()
            await self._prove(url)

    async def _idle_or_lost(self, idle_s: float) -> None:
        loop, metrics = asyncio.get_running_loop(), self._gateway.gateway.metrics
        deadline = loop.time() + idle_s
        while self._session.is_up and loop.time() < deadline:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._session.wait_unready()
            except TimeoutError:
                # Requests that came through the tunnel are proof enough.
                deadline = max(deadline, (metrics.last_tunnel_request or 0) + idle_s)

    def _on_spawn(self, identity: Identity) -> None:
        self._context.children.add("agent", identity)

    def _on_session(self, event: SessionEvent) -> None:
        if event == "lost":
            self._session.set_unready()
        else:
            self._session.set_ready()


async def wait_until_unresponsive(
    agent: Tunnel,
    metrics: Metrics,
    prove: Callable[[float], Awaitable[None]],
    policy: Timeouts,
) -> TunnelFailed:
    """Return once neither the agent's API answers nor the URL leads here.

    Requests that have come through the tunnel meanwhile prove the URL; only without
    one is it called, since each call counts among those that the account may make.

    Args:
        agent: It runs, and has its endpoint.
        metrics: Tell of requests through the tunnel.
        prove: Calls the URL, and raises unless it leads here within so many seconds.
        policy: The waits.
    """
    while True:
        await asyncio.sleep(policy.agent_check_every_s)
        last_request = metrics.last_tunnel_request
        if await _answers_once(agent, policy):
            continue
        if metrics.last_tunnel_request != last_request:
            continue
        try:
            await prove(policy.agent_proof_s)
        except AvocadoError:
            return TunnelFailed(
                f"The {TUNNEL.name} agent hangs: it does not answer, and requests do "
                "not get through.",
                "It is started again, with the same URL.",
            )
        # What works is left alone, and not proved again and again.
        await asyncio.sleep(policy.probe_idle_s)


async def _answers_once(agent: Tunnel, policy: Timeouts) -> bool:
    """Whether one of so many checks in a row is answered."""
    loop = asyncio.get_running_loop()
    for _ in range(policy.agent_misses):
        next_at = loop.time() + policy.agent_check_timeout_s
        if await agent.is_healthy():
            return True
        await asyncio.sleep(max(0.0, next_at - loop.time()))
    return False
