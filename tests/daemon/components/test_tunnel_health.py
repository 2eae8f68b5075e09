"""When an agent is taken for hung, with an agent and a URL that are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.daemon.components.tunnel import wait_until_unresponsive
from spicy_avocado_magic.errors import TunnelFailed
from spicy_avocado_magic.gateway.counters import Metrics
from spicy_avocado_magic.tunnel.provider import Tunnel
from tests.machine_speed import scaled

POLICY = Timeouts().scaled(2000)


@dataclass
class World:
    """Stands in for the agent and the URL behind it."""

    answers: Iterator[bool] = field(default_factory=lambda: iter([]))
    leads_here: bool = False
    has_traffic: bool = False
    metrics: Metrics = field(default_factory=Metrics)
    proved: asyncio.Event = field(default_factory=asyncio.Event)
    asked_often: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    async def is_healthy(self) -> bool:
        """Give the next answer; the last one for ever."""
        self.asked += 1
        if self.asked == 20:
            self.asked_often.set()
        if self.has_traffic:
            self.metrics.last_tunnel_request = float(self.asked)
        return next(self.answers, False)

    async def prove(self, _within_s: float) -> None:
        """Lead here or not."""
        self.proved.set()
        if not self.leads_here:
            raise TunnelFailed("It leads nowhere.", "Wait.")

    def watched(self) -> asyncio.Task[TunnelFailed]:
        """Begin to watch."""
        agent = cast(Tunnel, self)
        hung = wait_until_unresponsive(agent, self.metrics, self.prove, POLICY)
        return asyncio.ensure_future(hung)


async def test_an_agent_that_neither_answers_nor_lets_through_is_hung() -> None:
    """A miss with an answer after it is no hang."""
    world = World(answers=iter([False, True, False, False]))
    async with asyncio.timeout(scaled(5)):
        error = await world.watched()
    assert "hangs" in error.problem
    assert world.asked == 4, "misses that were not in a row counted"


async def test_a_silent_api_alone_is_left_alone() -> None:
    """The tunnel works; and it is not proved again and again."""
    world = World(leads_here=True)
    task = world.watched()
    async with asyncio.timeout(scaled(5)):
        await world.proved.wait()
    world.proved.clear()
    await asyncio.sleep(0)
    assert not task.done(), "a tunnel that works was taken for hung"
    assert not world.proved.is_set(), "it was proved again at once"
    task.cancel()


async def test_traffic_through_the_tunnel_is_proof_enough() -> None:
    """No call of our own is spent."""
    world = World(has_traffic=True)
    task = world.watched()
    async with asyncio.timeout(scaled(5)):
        await world.asked_often.wait()
    assert not task.done(), "a tunnel with traffic was taken for hung"
    assert not world.proved.is_set(), "a call was spent where there is traffic"
    task.cancel()


def test_a_hang_is_noticed_within_twenty_seconds() -> None:
    """It begins right after a good check, and each further one times out."""
    policy = Timeouts()
    checks_s = policy.agent_misses * policy.agent_check_timeout_s
    assert policy.agent_check_every_s + checks_s + policy.agent_proof_s <= 20
