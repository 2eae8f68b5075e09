"""Servers on loopback and short time-outs, for all tests of the engine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.engine.ollama_process import OllamaProcess
from spicy_avocado_magic.system.process_log import ProcessLog

Serve = Callable[[web.Application], Awaitable[str]]


@pytest.fixture
def timeouts() -> Timeouts:
    """Return short time-outs."""
    return Timeouts(
        request_s=5.0,
        stall_s=0.3,
        pull_pause_s=0.02,
        backoff_first_s=0.01,
        backoff_max_s=0.05,
        backoff_jitter_s=0.0,
        engine_start_s=20.0,
        model_load_s=30.0,
    )


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Return a function that serves an application and gives its base URL."""
    runners: list[web.AppRunner] = []

    async def start(app: web.Application) -> str:
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def engine(
    real_ollama: Path, tmp_path: Path, timeouts: Timeouts
) -> AsyncIterator[OllamaProcess]:
    """Return a real engine that runs."""
    server = OllamaProcess(
        executable=real_ollama,
        models_dir=tmp_path / "models",
        log=ProcessLog(tmp_path / "engine.log"),
        settings=Settings(context=512),
        timeouts=timeouts,
        on_spawn=lambda _identity: None,
    )
    try:
        await server.start()
        yield server
    finally:
        await server.stop(1)
