"""When an engine is taken for hung, with a server and a gateway that are scripted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.daemon.components import engine
from spicy_avocado_magic.daemon.components.engine import wait_until_unresponsive
from spicy_avocado_magic.engine.ollama_process import OllamaProcess
from spicy_avocado_magic.gateway.app import Gateway
from spicy_avocado_magic.system.processes import Identity
from tests.machine_speed import scaled

POLICY = Timeouts().scaled(2000)
MANY = 50


@dataclass
class Server:
    """Stands in for the engine: answers as scripted, then always."""

    answers: Iterator[bool]
    asked: int = 0
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)
    identity: Identity = field(default_factory=lambda: Identity(pid=1, start=""))

    async def is_healthy(self) -> bool:
        """Give the next answer."""
        self.asked += 1
        if self.asked >= MANY:
            self.was_asked.set()
        return next(self.answers, True)

    def log_tail(self, count: int) -> list[str]:
        """Give a line."""
        return ["last words"]


async def hung(server: Server, *, waits: bool = False, sent: int = 0) -> str:
    """Return why the engine is taken for hung."""
    metrics = SimpleNamespace(bytes_out=sent)
    gateway: Any = SimpleNamespace(is_blocked_on_engine=waits, metrics=metrics)
    error = await wait_until_unresponsive(
        cast(OllamaProcess, server), cast(Gateway, gateway), POLICY
    )
    assert error.log_tail == ("last words",), "its log is not shown"
    return error.problem


async def is_left_alone(server: Server, *, waits: bool) -> bool:
    """Whether many checks do not end it."""
    task = asyncio.ensure_future(hung(server, waits=waits))
    asked = asyncio.ensure_future(server.was_asked.wait())
    async with asyncio.timeout(scaled(10)):
        await asyncio.wait([task, asked], return_when=asyncio.FIRST_COMPLETED)
    is_running = not task.done()
    for waiting in (task, asked):
        waiting.cancel()
    await asyncio.gather(task, asked, return_exceptions=True)
    return is_running


@pytest.fixture
def runners(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float, int]]:
    """Give the list of what runners have done, which a test may change."""
    done = [(7, 1.0, 1)]
    monkeypatch.setattr(engine, "runner_activity", lambda _pid: tuple(done))
    return done


async def test_three_misses_in_a_row_mean_a_hung_engine() -> None:
    """Two and an answer in between do not."""
    server = Server(iter([False, False, True, False, False, False]))
    assert "3 times in a row" in await hung(server)
    assert server.asked == 6, "misses that were not in a row counted"


def test_a_hang_is_noticed_within_twenty_seconds() -> None:
    """It begins right after a good check, and each further one times out."""
    policy = Timeouts()
    misses_s = policy.engine_misses * policy.engine_check_timeout_s
    assert policy.engine_check_every_s + misses_s <= 20
    stuck_s = policy.engine_stuck_s + 2 * policy.engine_check_every_s
    assert stuck_s <= 20


async def test_runners_that_do_nothing_while_requests_wait_are_hung(
    runners: list[tuple[int, float, int]],
) -> None:
    """The server itself answers its health checks all the while."""
    assert "is idle" in await hung(Server(iter([])), waits=True)


async def test_an_idle_engine_is_left_alone(
    runners: list[tuple[int, float, int]],
) -> None:
    """Without a request there is nothing to do."""
    assert await is_left_alone(Server(iter([])), waits=False)


async def test_a_busy_engine_is_left_alone(
    runners: list[tuple[int, float, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long nothing comes from it."""
    busy = iter(range(10**9))
    monkeypatch.setattr(
        engine, "runner_activity", lambda _pid: ((7, float(next(busy)), 1),)
    )
    assert await is_left_alone(Server(iter([])), waits=True)


async def test_an_engine_without_a_runner_is_left_alone(
    runners: list[tuple[int, float, int]],
) -> None:
    """It may just be about to start one."""
    runners.clear()
    assert await is_left_alone(Server(iter([])), waits=True)
