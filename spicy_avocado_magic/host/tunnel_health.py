"""When a running agent is taken for hung; a slow local API alone is no reason."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ..config.timeouts import Policy
from ..errors import AvocadoError, TunnelFailed
from ..gateway.metrics import Metrics
from ..tunnel.ngrok.agent import Agent


async def until_hung(
    agent: Agent,
    metrics: Metrics,
    prove: Callable[[float], Awaitable[None]],
    policy: Policy,
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
                "The ngrok agent hangs: it neither answers nor lets requests through.",
                "It is started again, with the same URL.",
            )
        # What works is left alone, and not proved again and again.
        await asyncio.sleep(policy.probe_idle_s)


async def _answers_once(agent: Agent, policy: Policy) -> bool:
    """Whether one of so many checks in a row is answered."""
    loop = asyncio.get_running_loop()
    for _ in range(policy.agent_misses):
        next_at = loop.time() + policy.agent_check_timeout_s
        if await agent.is_healthy():
            return True
        await asyncio.sleep(max(0.0, next_at - loop.time()))
    return False
