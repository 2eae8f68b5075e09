"""Tunnel component: agent, endpoint, and the proof that its URL leads here."""

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
    "Requests without any key therefore reach this notebook, which refuses them itself."
)


class _Hung(Exception):
    """The agent runs but does not work."""

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
        self._policy_warning = ""
        self._agent_log = RedactedLog(context.folder.log("agent"), context.redact)

    async def run(self, ready: Readiness) -> None:
        """Install the agent, connect, prove the URL, and watch all three."""
        context = self._context
        store, settings, timeouts = context.store, context.settings, context.timeouts
        await self._pool.join()
        if settings.local:
            await self._stay_off(ready)
        store.stage("tunnel", Phase.STARTING, f"installing the {TUNNEL.name} agent")
        provider, program = context.provider, settings.sources.tunnel_program
        agent = provider.create_tunnel(
            program=program,
            config_path=context.folder.agent_config,
            timeouts=timeouts,
            events=TunnelEvents(
                on_line=self._agent_log,
                on_spawn=self._on_spawn,
                on_session=self._on_session,
            ),
        )
        grace_s = timeouts.tunnel_stop_s
        try:
            version = await provider.install(program, timeouts)
            await self._gateway_ready.wait_ready()
            if settings.pool:
                # The pool's clients must not reach a member that cannot answer yet.
                store.stage(
                    "tunnel", Phase.WAITING, "joins the pool once its models are ready"
                )
                await self._models_ready.wait_ready()
                self._gateway.set_public_host(settings.domain)
            store.stage(
                "tunnel", Phase.STARTING, f"{TUNNEL.name} {version}: connecting"
            )
            url = await self._open(agent, version)
            store.update(url=url)
            ready.set_ready()
            await first_completed(
                self._watch_exit(agent),
                self._watch_session(url),
                self._pool.watch(url),
                self._watch_health(agent, url),
                self._gateway_ready.wait_unready(),
            )
        except _Hung as hung:
            grace_s = 0.0  # it would not react to SIGTERM
            store.fail("tunnel", hung.error, again=True)
            raise hung.error from None
        finally:
            ready.set_unready()
            self._gateway.set_public_host("")
            await agent.close(grace_s)
            context.children.remove("agent")

    async def _open(self, agent: Tunnel, version: str) -> str:
        """Connect and prove the URL; without the Traffic Policy if it is refused.

        The policy requires a key in a header, so it is not used where clients need not
        send one.
        """
        settings = self._context.settings
        self._policy_warning = ""
        traffic_policy = self._context.provider.traffic_policy()
        if traffic_policy and not (settings.no_auth or settings.path_key):
            try:
                return await self._connect(agent, version, traffic_policy)
            except TrafficPolicyRejected as error:
                self._context.log(f"tunnel: {error}")
                self._policy_warning = f"{error.problem} {_UNGUARDED}"
        return await self._connect(agent, version, "")

    async def _connect(self, agent: Tunnel, version: str, traffic_policy: str) -> str:
        store, settings = self._context.store, self._context.settings
        url = await agent.connect(
            store.snapshot().local_url,
            domain=settings.domain,
            pool=settings.pool,
            traffic_policy=traffic_policy,
        )
        self._session.set_ready()
        self._gateway.set_public_host(urlsplit(url).netloc)
        store.stage("tunnel", Phase.READY, f"{TUNNEL.name} {version}")
        await self._prove(url)
        return url

    def _facts(self) -> dict[str, Any]:
        facts = self._pool.facts()
        warnings = (self._policy_warning,) if self._policy_warning else ()
        return {**facts, "warnings": (*warnings, *facts.get("warnings", ()))}

    async def _stay_off(self, ready: Readiness) -> None:
        self._context.store.update(url="")
        for stage in ("tunnel", "probe"):
            self._context.store.stage(stage, Phase.OFF, "off (--local)")
        ready.set_ready()
        await asyncio.Event().wait()

    async def _prove(self, url: str) -> None:
        store = self._context.store
        store.stage("probe", Phase.STARTING, f"calling {url}")
        if await self._pool.prove(url):
            store.stage("probe", Phase.READY, f"{url} leads to the pool")
            return
        await self._call(url, self._context.timeouts.probe_s)
        store.stage("probe", Phase.READY, f"{url} leads here")

    async def _call(self, url: str, within_s: float) -> None:
        nonce = secrets.token_hex(16)
        expect = gateway_proof(self._context.probe_secret, nonce)
        provider = self._context.provider
        await probe(url, provider, nonce=nonce, expect=expect, deadline_s=within_s)

    async def _watch_health(self, agent: Tunnel, url: str) -> None:
        metrics, timeouts = self._gateway.gateway.metrics, self._context.timeouts
        prove = partial(self._call, url)
        raise _Hung(await wait_until_unresponsive(agent, metrics, prove, timeouts))

    async def _watch_exit(self, agent: Tunnel) -> None:
        await agent.wait_exit()
        raise TunnelFailed(
            f"The {TUNNEL.name} agent ended unexpectedly.",
            "It is restarted automatically, with the same URL.",
            log_tail=self._agent_log.tail(LOG_LINES_SHOWN),
        )

    async def _watch_session(self, url: str) -> None:
        """Prove the URL again after each reconnect, and after a long idle time."""
        timeouts, store = self._context.timeouts, self._context.store
        while True:
            if self._session.is_up:
                await self._idle_or_lost(timeouts.probe_idle_s)
            if not self._session.is_up:
                store.stage("probe", Phase.BACKOFF, "the tunnel is reconnecting")
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
                # A request through the tunnel is a proof as well.
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
    timeouts: Timeouts,
) -> TunnelFailed:
    """Return an error once neither the agent's API answers nor the URL leads here.

    A request through the tunnel proves the URL. Only without one the URL is called,
    since each call counts against the account's quota.

    Args:
        agent: A running agent with its endpoint.
        metrics: Counts of requests through the tunnel.
        prove: Calls the URL; raises unless it leads here within these seconds.
        timeouts: The intervals and limits.
    """
    while True:
        await asyncio.sleep(timeouts.agent_check_every_s)
        last_request = metrics.last_tunnel_request
        if await _answers_once(agent, timeouts):
            continue
        if metrics.last_tunnel_request != last_request:
            continue
        try:
            await prove(timeouts.agent_proof_s)
        except AvocadoError:
            return TunnelFailed(
                f"The {TUNNEL.name} agent hangs: it does not answer, and requests "
                "do not arrive.",
                "It is restarted automatically, with the same URL.",
            )
        # A working tunnel is not proved again at once.
        await asyncio.sleep(timeouts.probe_idle_s)


async def _answers_once(agent: Tunnel, timeouts: Timeouts) -> bool:
    """Return whether one of ``agent_misses`` checks in a row is answered."""
    loop = asyncio.get_running_loop()
    for _ in range(timeouts.agent_misses):
        next_at = loop.time() + timeouts.agent_check_timeout_s
        if await agent.is_healthy():
            return True
        await asyncio.sleep(max(0.0, next_at - loop.time()))
    return False
