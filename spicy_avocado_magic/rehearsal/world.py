"""The loopback world of a rehearsal: release host, registry and edge in one process."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from ..config.settings import Endpoints
from .fake_downloads.registry import create_registry
from .fake_downloads.releases import RELEASES_PATH, create_releases
from .fake_ngrok import agent
from .fake_ngrok.edge import FakeNgrok


class RehearsalWorld:
    """Every service that the product uses, on loopback; close it when done.

    Args:
        folder: Where the agent's program is written; created if missing.
        engine_tree: A folder with ``bin`` and ``lib`` of a real Ollama, which the
            release host serves instead of the stand-in.
        agent_module: The module that the agent's program runs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        engine_tree: Path | None = None,
        agent_module: str = agent.__name__,
    ) -> None:
        self._folder = folder
        self._engine_tree = engine_tree
        self._agent_module = agent_module
        self._runners: list[web.AppRunner] = []
        self.edge = FakeNgrok()
        self._endpoints = Endpoints(rehearsal=True)

    async def start(self) -> None:
        """Start every service on a free port."""
        await asyncio.to_thread(self._folder.mkdir, parents=True, exist_ok=True)
        releases = await self._open(create_releases(engine_tree=self._engine_tree))
        registry = await self._open(create_registry())
        edge_address = await self.edge.start()
        program = await asyncio.to_thread(
            agent.write_agent_script, self._folder / "ngrok", self._agent_module
        )
        self._endpoints = Endpoints(
            rehearsal=True,
            releases_url=f"http://{releases}{RELEASES_PATH}",
            registry=registry,
            tunnel_program=str(program),
            edge_address=edge_address,
        )

    def endpoints(self) -> Endpoints:
        """Return the addresses and paths that point the product at this world."""
        return self._endpoints

    async def close(self) -> None:
        """Close every service and remove the agent's program."""
        await self.edge.close()
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()
        if self._endpoints.tunnel_program:
            program = Path(self._endpoints.tunnel_program)
            await asyncio.to_thread(program.unlink, missing_ok=True)

    async def _open(self, app: web.Application) -> str:
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1
        )
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        return f"{host}:{port}"
