"""A registry of several models and an engine, for the models component."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast

import aiohttp
from aiohttp import web

from spicy_avocado_magic.config.settings import Endpoints, Settings
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.daemon.components.gateway import GatewayComponent
from spicy_avocado_magic.daemon.components.models import ModelsComponent
from spicy_avocado_magic.daemon.context import DaemonContext
from spicy_avocado_magic.daemon.restart_loop import Readiness, RestartLoop
from spicy_avocado_magic.daemon.state_store import StateStore
from spicy_avocado_magic.engine.ollama_api import OllamaApi
from spicy_avocado_magic.engine.ollama_process import OllamaProcess
from spicy_avocado_magic.protocol.event_log import EventLog
from spicy_avocado_magic.protocol.state import ModelState, State
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.rehearsal.fake_downloads.registry import _Registry
from spicy_avocado_magic.rehearsal.fake_downloads.tiny_gguf import tiny_gguf
from spicy_avocado_magic.rehearsal.fake_ollama.server import create_engine
from spicy_avocado_magic.system.platforms import PLATFORMS
from spicy_avocado_magic.system.process_log import ProcessLog
from spicy_avocado_magic.system.redaction import Redactor
from tests.machine_speed import scaled

KEY = "key-of-the-test-1"
POLICY = Timeouts(
    stall_s=60.0,
    pull_pause_s=0.05,
    backoff_first_s=0.02,
    backoff_max_s=0.05,
    backoff_jitter_s=0.0,
    engine_start_s=30.0,
    engine_check_every_s=0.05,
    model_load_s=60.0,
)
ENGINE_CONTEXT = 2048
OURS = "spicy-avocado-magic"


@dataclass(slots=True)
class Models:
    """A stand-in registry of models that differ in their last weight."""

    held: dict[str, asyncio.Event] = field(default_factory=dict)
    """By model: its weights are not given before this is set."""
    broken: set[str] = field(default_factory=set)
    """Models with weights that are answered with 404."""
    only_for_engines: bool = False
    """Whether blobs are refused to all but an engine's own pull."""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Model, digest and User-Agent of each request for a blob."""
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when weights are asked for that are held."""
    address: str = ""
    _known: dict[str, _Registry] = field(default_factory=dict)

    def application(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        name = "/v2/{namespace}/{model}"
        app.router.add_get(f"{name}/manifests/{{tag}}", self._serve_manifest)
        app.router.add_get(f"{name}/blobs/{{digest}}", self._serve_blob)
        return app

    def weights_asked(self, by: str) -> list[str]:
        """Return the models with weights requested whole by this User-Agent."""
        return [
            model
            for model, digest, agent in self.asked
            if agent.startswith(by) and digest == self._weights_digest(model)
        ]

    def _weights_digest(self, model: str) -> str:
        blobs = self._registry(model)._blobs
        return max(blobs, key=lambda digest: len(blobs[digest]))

    def _registry(self, model: str) -> _Registry:
        if model not in self._known:
            own = struct.pack("<f", 0.001 * (1 + len(self._known)))
            self._known[model] = _Registry(tiny_gguf()[: -len(own)] + own)
        return self._known[model]

    async def _serve_manifest(self, request: web.Request) -> web.StreamResponse:
        model = request.match_info["model"]
        return await self._registry(model)._serve_manifest(request)

    async def _serve_blob(self, request: web.Request) -> web.StreamResponse:
        model, digest = request.match_info["model"], request.match_info["digest"]
        agent = request.headers.get("User-Agent", "")
        if request.headers.get("Range", "").startswith("bytes=0-262143"):
            return await self._registry(model)._serve_blob(request)  # only the head
        self.asked.append((model, digest, agent))
        if self.only_for_engines and agent == OURS:
            return web.Response(status=403)
        if digest == self._weights_digest(model):
            if model in self.held:
                self.reached.set()
                await self.held[model].wait()
            if model in self.broken:
                return web.Response(status=404)
        return await self._registry(model)._serve_blob(request)


@dataclass(slots=True)
class EngineAtHand:
    """What a life of the models needs of the engine's: where it answers, its log."""

    base_url: str = ""
    server: Any = None

    @property
    def api(self) -> OllamaApi:
        """A client of the engine."""
        return OllamaApi(self.base_url, POLICY)


class NoLog:
    """Stands in for an engine's log that says what a test wants."""

    def __init__(self, head: str = "", load: str = "") -> None:
        self._head, self._load = head, load

    @property
    def log(self) -> Self:
        """Return this log, as an engine does."""
        return self

    def size(self) -> int:
        """Return a position."""
        return 0

    def since(self, _position: int) -> str:
        """Return what was logged at the load."""
        return self._load

    def head(self) -> str:
        """Return what was logged at the start."""
        return self._head


@contextlib.asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """Serve an application; give ``host:port``."""
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def running_engine(
    executable: Path | None, folder: Path
) -> AsyncIterator[EngineAtHand]:
    """Run a real engine, or the stand-in where no executable is given."""
    models = folder / "models"
    if executable is None:
        async with serving(create_engine(models, "0.34.1")) as address:
            yield EngineAtHand(base_url=f"http://{address}", server=NoLog())
        return
    server = OllamaProcess(
        executable=executable,
        models_dir=models,
        log=ProcessLog(folder / "engine.log"),
        settings=Settings(context=ENGINE_CONTEXT),
        timeouts=POLICY,
        on_spawn=lambda _: None,
    )
    try:
        await server.start()
        yield EngineAtHand(base_url=server.base_url, server=server)
    finally:
        await server.stop(2)


class Session:
    """One host's models, with its gateway; ``loop`` runs their component."""

    def __init__(
        self,
        folder: Path,
        engine: EngineAtHand,
        registry: str,
        models: tuple[str, ...],
        *,
        rehearsal: bool = False,
    ) -> None:
        redact = Redactor()
        self.board = StateStore(State(compute="CPU"))
        self.board.models(ModelState(name=name) for name in models)
        self.context = DaemonContext(
            settings=Settings(
                models=models,
                api_key=KEY,
                models_dir=str(folder / "models"),
                sources=Endpoints(registry=registry, rehearsal=rehearsal),
            ),
            folder=StateFolder(folder),
            timeouts=POLICY,
            platform=PLATFORMS[-1],
            store=self.board,
            children=cast("Any", None),
            log=EventLog(folder / "flight.log", redact),
            redact=redact,
            probe_secret=b"secret",
        )
        self.engine, self.engine_ready = engine, Readiness()
        self._gateway = GatewayComponent(self.context)
        life = ModelsComponent(
            self.context, self._gateway, cast("Any", engine), self.engine_ready
        )
        self.loop = RestartLoop(
            "models", life.run, self.board, POLICY, log=self.context.log
        )
        self.ready = self.loop.ready
        self._url = ""

    @contextlib.asynccontextmanager
    async def running(self, *, engine_is_up: bool = True) -> AsyncIterator[Session]:
        """Open the gateway and run the component until the block ends."""
        gateway = self._gateway.gateway
        self._url = await gateway.start(0)
        gateway.set_upstream(self.engine.base_url)
        if engine_is_up:
            self.engine_ready.set_ready()
        task = asyncio.create_task(self.loop.run())
        try:
            async with asyncio.timeout(scaled(60)):
                yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await gateway.stop(0.1)

    async def until(self, holds: Callable[[State], bool]) -> State:
        """Return the first state of which something holds."""
        while not holds(state := self.board.snapshot()):
            failures = [stage.failure for stage in state.stages if stage.failure]
            assert not failures, failures
            await self.board.wait_change()
        return state

    @property
    def served(self) -> tuple[str, ...]:
        """What the gateway lets clients use."""
        return self._gateway.gateway.access.models

    async def chat(self, model: str) -> int:
        """Return the status of a chat through the gateway."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "hi"}],
            "stream": False,
            "options": {"num_predict": 2},
        }
        headers = {"Authorization": f"Bearer {KEY}"}
        async with (
            aiohttp.ClientSession(headers=headers) as client,
            client.post(f"{self._url}/api/chat", json=body) as response,
        ):
            await response.read()
            return response.status


def progress_of(states: list[State]) -> Iterator[tuple[int, int]]:
    """Yield bytes done and in total of the pull, where a state has them."""
    for state in states:
        progress = state.stage("pull").progress
        if progress is not None:
            yield progress.done_bytes, progress.total_bytes
