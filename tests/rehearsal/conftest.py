"""Parts of the loopback world, each opened on a port of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import ollama
import pytest
from aiohttp import web

from spicy_avocado_magic.rehearsal.fake_downloads.registry import create_registry
from spicy_avocado_magic.rehearsal.fake_ollama.server import create_engine
from tests.machine_speed import scaled

from ..real_engines import real_ollama

__all__ = ["real_ollama"]

Open = Callable[[web.Application], Awaitable[str]]
Serve = Callable[[Path], AbstractAsyncContextManager["Served"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    content: bytes


async def call(url: str, *, method: str = "", **sent: Any) -> Called:
    """Return one response; redirects are returned, not followed."""
    method = method or ("POST" if "json" in sent or "data" in sent else "GET")
    patient = aiohttp.ClientTimeout(total=scaled(60))
    async with (
        aiohttp.ClientSession(timeout=patient) as session,
        session.request(method, url, allow_redirects=False, **sent) as response,
    ):
        content = await response.read()
        return Called(status=response.status, headers=response.headers, content=content)


@pytest.fixture
async def open_app() -> AsyncIterator[Open]:
    """Open applications on free ports; return ``HOST:PORT`` of each."""
    runners = []

    async def open_one(app: web.Application) -> str:
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        return f"{host}:{port}"

    yield open_one
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def registry(open_app: Open) -> str:
    """The address of a registry."""
    return await open_app(create_registry())


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The engine's models folder."""
    return tmp_path / "models"


@pytest.fixture
async def engine(open_app: Open, models: Path) -> str:
    """The URL of a stand-in engine without models."""
    return f"http://{await open_app(create_engine(models, '0.34.1'))}"


@pytest.fixture
async def tiny(engine: str, registry: str) -> str:
    """The URL of a stand-in engine that has pulled the model ``tiny``."""
    name = f"{registry}/library/tiny:latest"
    pulled = await call(f"{engine}/api/pull", json={"model": name, "insecure": True})
    assert b'"success"' in pulled.content, pulled.content
    copied = {"source": name, "destination": "tiny"}
    assert (await call(f"{engine}/api/copy", json=copied)).status == 200
    return engine


@pytest.fixture
async def client(tiny: str) -> AsyncIterator[ollama.AsyncClient]:
    """Ollama's own client, of an engine that has ``tiny``."""
    async with ollama.AsyncClient(host=tiny) as opened:
        yield opened


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An ``ollama serve`` that answers."""

    url: str
    process: asyncio.subprocess.Process
    log: Path
    is_older: bool
    """Whether it is the older of the real engines, with other messages."""


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Start an ``ollama``, real or not, in folders of its own; end its group."""

    @asynccontextmanager
    async def run(executable: Path) -> AsyncIterator[Served]:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        log = tmp_path / "engine.log"
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "OLLAMA_HOST": f"127.0.0.1:{port}",
            "OLLAMA_MODELS": str(tmp_path / "models"),
            "OLLAMA_NO_CLOUD": "1",
        }
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                executable,
                "serve",
                env=environ,
                stdout=output,
                stderr=output,
                cwd=tmp_path,
                start_new_session=True,
            )
        url = f"http://127.0.0.1:{port}"
        try:
            async with asyncio.timeout(scaled(30)):
                while not await _answers(url):
                    assert process.returncode is None, log.read_text()
                    await asyncio.sleep(0.02)
            reply = (await call(f"{url}/api/version")).content
            is_older = b'"0.11.' in reply
            yield Served(url=url, process=process, log=log, is_older=is_older)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()

    return run


async def _answers(url: str) -> bool:
    try:
        return (await call(f"{url}/api/version")).status == 200
    except aiohttp.ClientConnectionError:
        return False
