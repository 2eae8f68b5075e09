"""When a host ends by itself, and when it warns of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.daemon.lifetime import Lifetime
from spicy_avocado_magic.daemon.state_store import StateStore
from spicy_avocado_magic.protocol.state import State
from tests.machine_speed import scaled

POLICY = Timeouts().scaled(500)


class Owner:
    """Stands in for the owner's process; notes each look at it."""

    def __init__(self) -> None:
        self.is_there = True
        self.looks = 0
        self.seen = asyncio.Event()

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        self.looks += 1
        self.seen.set()
        return self.is_there

    async def looked_at(self, times: int) -> None:
        """Return once it was looked at so often from now on."""
        wanted = self.looks + times
        while self.looks < wanted:
            self.seen.clear()
            async with asyncio.timeout(scaled(20)):
                await self.seen.wait()


class Host:
    """Stands in for a daemon that records the reason for its end."""

    def __init__(self, owner: Owner | None, *, detach: bool = False) -> None:
        self.board = StateStore(State())
        self.reasons: list[str] = []
        self.ended = asyncio.Event()
        context: Any = SimpleNamespace(
            store=self.board, timeouts=POLICY, settings=Settings(detach=detach)
        )
        identity: Any = owner
        self.lifetime = Lifetime(context, identity, self.end)

    def end(self, reason: str) -> None:
        """Record the reason."""
        self.reasons.append(reason)
        self.ended.set()

    async def why(self) -> str:
        """Return why it ended, once it does."""
        async with asyncio.timeout(scaled(20)):
            await self.ended.wait()
        return self.reasons[0]


@contextlib.asynccontextmanager
async def watched(host: Host) -> AsyncIterator[None]:
    """Run its watches for the length of a block."""
    tasks = [asyncio.create_task(watch) for watch in host.lifetime.watches().values()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_host_whose_owner_has_gone_ends_after_the_grace() -> None:
    """Not at the first look: a notebook server may be exchanged for another."""
    owner = Owner()
    host = Host(owner)
    grace = round(POLICY.owner_gone_s / POLICY.owner_check_every_s)
    async with watched(host):
        await owner.looked_at(grace + 1)
        assert not host.reasons, "it ended though its owner is there"
        owner.is_there = False
        await owner.looked_at(grace // 2)
        owner.is_there = True
        await owner.looked_at(1)
        owner.is_there = False
        await owner.looked_at(grace // 2 + 1)
        assert not host.reasons, "the time before its owner came back was counted"
        assert "owner" in await host.why()


async def test_a_detached_host_outlives_its_owner() -> None:
    """As ``--detach`` says; so does one that never had an owner."""
    owner = Owner()
    owner.is_there = False
    host, alone = Host(owner, detach=True), Host(None)
    grace = round(POLICY.owner_gone_s / POLICY.owner_check_every_s)
    async with watched(host), watched(alone):
        await owner.looked_at(grace + 5)
    assert (host.reasons, alone.reasons) == ([], [])


async def test_a_host_ends_when_its_time_has_run_out() -> None:
    """Not before, and with a warning once it is near."""
    host = Host(None)
    async with watched(host):
        host.lifetime.restart(0.2)
        ends_at = host.board.ends_at
        assert ends_at is not None
        assert any("--ttl 4h" in text for text in host.board.snapshot().warnings)
        assert "--ttl" in await host.why()
        assert asyncio.get_running_loop().time() >= ends_at


async def test_more_time_takes_the_warning_back() -> None:
    """``%avocado_up --ttl 4h`` on a running host; 0 is without limit."""
    host = Host(None)
    for ttl_s in (POLICY.ttl_warn_s + 60.0, 0.0):
        host.lifetime.restart(POLICY.ttl_warn_s / 2)
        assert host.board.snapshot().warnings, "it does not warn"
        host.lifetime.restart(ttl_s)
        assert not host.board.snapshot().warnings, f"it warns still: {ttl_s}"
    assert host.board.ends_at is None
