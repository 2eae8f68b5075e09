"""The port for scrapers follows the settings, and harms nothing else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, cast

import aiohttp
import pytest

from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.daemon.components.gateway import GatewayComponent
from spicy_avocado_magic.daemon.components.metrics import MetricsEndpoint
from spicy_avocado_magic.daemon.context import DaemonContext
from spicy_avocado_magic.daemon.state_store import StateStore
from spicy_avocado_magic.protocol.event_log import EventLog
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.system.platforms import PLATFORMS
from spicy_avocado_magic.system.redaction import Redactor
from tests.machine_speed import scaled

TOKEN: Final = "metrics-token-0123456789"


@dataclass(slots=True)
class Bench:
    """A running metrics endpoint and its settings."""

    life: MetricsEndpoint
    context: DaemonContext
    task: asyncio.Task[None]

    def want(self, port: str, *, token: str = TOKEN) -> None:
        """Change the settings."""
        self.context.settings = replace(
            self.context.settings, metrics_port=port, metrics_token=token
        )
        self.life.refresh()

    async def until(self, is_so: Callable[[State], bool]) -> State:
        """Return the first state that is so."""
        async with asyncio.timeout(scaled(5)):
            while not is_so(state := self.context.store.snapshot()):
                await self.context.store.wait_change()
        return state

    async def until_open(self, port: int) -> str:
        """Return the URL at this port, once it is there."""
        state = await self.until(lambda state: f":{port}/" in state.metrics_url)
        return state.metrics_url


async def scrape(url: str, token: str = TOKEN) -> int:
    """Return the status of one scrape; 0 where nothing listens."""
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as client:
        try:
            async with client.get(url, headers=headers) as reply:
                assert reply.status != 200 or (await reply.read()).endswith(b"# EOF\n")
                return reply.status
        except aiohttp.ClientConnectorError:
            return 0


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A life without any port wanted."""
    redact = Redactor()
    context = DaemonContext(
        settings=Settings(api_key="key-of-the-test-1"),
        folder=StateFolder(tmp_path),
        timeouts=Timeouts(metrics_retry_s=0.05),
        platform=PLATFORMS[-1],
        store=StateStore(State()),
        children=cast("Any", None),
        log=EventLog(tmp_path / "flight.log", redact),
        redact=redact,
        probe_secret=b"secret",
    )
    life = MetricsEndpoint(context, GatewayComponent(context).gateway)
    task = asyncio.create_task(life.run())
    yield Bench(life=life, context=context, task=task)
    task.cancel()
    await asyncio.wait([task])


async def test_the_port_opens_moves_and_closes_with_the_settings(
    bench: Bench, unused_tcp_port_factory: Callable[[], int]
) -> None:
    """No restart of anything, and nothing left behind at the old place."""
    first, second = unused_tcp_port_factory(), unused_tcp_port_factory()
    bench.want(f"127.0.0.1:{first}")
    old = await bench.until_open(first)
    assert await scrape(old) == 200
    bench.want(f"127.0.0.1:{second}")
    new = await bench.until_open(second)
    assert (await scrape(new), await scrape(old)) == (200, 0), "it did not move"
    bench.want("")
    await bench.until(lambda state: not state.metrics_url)
    assert await scrape(new) == 0, "it did not close"


async def test_a_new_token_replaces_the_old_one(
    bench: Bench, unused_tcp_port: int
) -> None:
    """What was let in before is not any more."""
    bench.want(f"127.0.0.1:{unused_tcp_port}")
    url = await bench.until_open(unused_tcp_port)
    bench.want(f"127.0.0.1:{unused_tcp_port}", token="another-token-0123456789")
    await bench.until(lambda state: not state.metrics_url)
    await bench.until_open(unused_tcp_port)
    assert await scrape(url) == 401, "the old token is still good"
    assert await scrape(url, "another-token-0123456789") == 200


async def test_a_change_of_other_settings_leaves_the_port_alone(
    bench: Bench, unused_tcp_port: int
) -> None:
    """A scraper's connection outlives ``up`` with other options."""
    bench.want(f"127.0.0.1:{unused_tcp_port}")
    await bench.until_open(unused_tcp_port)
    port = bench.life._port
    bench.want(f"127.0.0.1:{unused_tcp_port}")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert bench.life._port is port, "it was opened again"


async def test_a_port_in_use_is_a_warning_and_opened_once_free(bench: Bench) -> None:
    """A warning with a remedy, and no more harm than that."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        bench.want(f"127.0.0.1:{number}")
        state = await bench.until(lambda state: bool(state.warnings))
        (warning,) = state.warnings
        assert f"127.0.0.1:{number} is in use" in warning
        assert "--metrics-port" in warning, "it names no remedy"
        assert not state.metrics_url
    url = await bench.until_open(number)
    assert await scrape(url) == 200
    assert not bench.context.store.snapshot().warnings, "the warning stayed"


async def test_an_address_of_another_machine_is_a_warning(bench: Bench) -> None:
    """What cannot be had is no reason to end."""
    bench.want("192.0.2.1:9464")
    state = await bench.until(lambda state: bool(state.warnings))
    assert "192.0.2.1:9464 cannot be opened" in state.warnings[0]


async def test_the_end_closes_the_port(bench: Bench, unused_tcp_port: int) -> None:
    """``down`` leaves no port open."""
    bench.want(f"127.0.0.1:{unused_tcp_port}")
    url = await bench.until_open(unused_tcp_port)
    bench.task.cancel()
    await asyncio.wait([bench.task])
    assert await scrape(url) == 0, "it outlived its host"
