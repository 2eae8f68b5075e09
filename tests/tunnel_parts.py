"""An edge, an upstream and agents, for the tests of tunnel and rehearsal."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from aiohttp import web

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.rehearsal.fake_ngrok.agent import write_agent_script
from spicy_avocado_magic.rehearsal.fake_ngrok.edge import FakeNgrok
from spicy_avocado_magic.system.processes import Identity, find_by_argument
from spicy_avocado_magic.tunnel.ngrok.agent import NgrokAgent
from spicy_avocado_magic.tunnel.ngrok.config import write_config
from spicy_avocado_magic.tunnel.provider import SessionEvent, TunnelEvents
from tests.machine_speed import scaled

TOKEN = "2abcdefghijklmnopqrstuvwxyz_0123456789"


@dataclass
class Service:
    """A running edge and the address that agents dial."""

    edge: FakeNgrok
    address: str


@dataclass
class Upstream:
    """A small server; tests decide when its stream continues."""

    url: str = ""
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    was_cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send ``one``, wait, then send ``two``."""
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await response.write(b"one")
            await self.go_on.wait()
            await response.write(b"two")
        except asyncio.CancelledError:
            self.was_cancelled.set()
            raise
        return response


async def echo(request: web.Request) -> web.Response:
    """Send the request's body back."""
    return web.Response(body=await request.read())


@contextlib.asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve an application on loopback and yield its URL."""
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def answering(text: str) -> AsyncIterator[str]:
    """Serve one text at ``/`` and yield the server's URL."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=text, headers={"Connection": "close"})

    app = web.Application()
    app.router.add_get("/", answer)
    async with serving(app) as url:
        yield url


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """Return a running edge."""
    edge = FakeNgrok()
    yield Service(edge, await edge.start())
    await edge.close()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """Return a running upstream."""
    parts = Upstream()
    app = web.Application(client_max_size=2**26)
    app.router.add_get("/stream", parts.stream)
    app.router.add_post("/echo", echo)
    async with serving(app) as parts.url:
        yield parts


@dataclass
class Watched:
    """An agent, and the events that it sent."""

    agent: NgrokAgent = field(init=False)
    config_path: Path
    lines: list[str] = field(default_factory=list)
    spawned: list[Identity] = field(default_factory=list)
    sessions: list[SessionEvent] = field(default_factory=list)
    received: asyncio.Event = field(default_factory=asyncio.Event)
    was_spawned: asyncio.Event = field(default_factory=asyncio.Event)

    def add_line(self, line: str) -> None:
        """Remember a line."""
        self.lines.append(line)
        self.received.set()

    def add_process(self, identity: Identity) -> None:
        """Remember an agent process."""
        self.spawned.append(identity)
        self.was_spawned.set()

    async def line_with(self, text: str, *, after: int = 0) -> None:
        """Return once a line after the first ``after`` ones has this text."""
        async with asyncio.timeout(scaled(5)):
            while not any(text in line for line in self.lines[after:]):
                self.received.clear()
                await self.received.wait()

    @property
    def processes(self) -> list[Identity]:
        """The processes that run with this agent's configuration."""
        return find_by_argument(str(self.config_path))


AgentMaker = Callable[..., Watched]


@pytest.fixture
async def make_agent(tmp_path: Path, service: Service) -> AsyncIterator[AgentMaker]:
    """Return a maker of agents; a process that they leave fails the test."""
    script = write_agent_script(tmp_path / "ngrok")
    made: list[Watched] = []

    def make(
        *, token: str = TOKEN, program: Path = script, agent_start_s: float = 15.0
    ) -> Watched:
        folder = tmp_path / f"agent-{len(made)}"
        folder.mkdir()
        config_path = folder / "ngrok.yml"
        write_config(config_path, token, service.address)
        watched = Watched(config_path)
        watched.agent = NgrokAgent(
            program=str(program),
            config_path=config_path,
            timeouts=replace(Timeouts(), agent_start_s=agent_start_s),
            events=TunnelEvents(
                on_line=watched.add_line,
                on_spawn=watched.add_process,
                on_session=watched.sessions.append,
            ),
        )
        made.append(watched)
        return watched

    yield make
    for watched in made:
        await watched.agent.close(0.5)
        assert watched.processes == [], "an agent is still running after close"


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], Path]:
    """Return a writer of small executables."""

    def write(text: str) -> Path:
        path = tmp_path / "program"
        path.write_text(text)
        path.chmod(0o700)
        return path

    return write
