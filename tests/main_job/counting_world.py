"""A release host and a registry that count their bytes and can hold them back."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from pathlib import Path
from typing import Self

from aiohttp import web

from spicy_avocado_magic.config.settings import Endpoints
from spicy_avocado_magic.config.validators import OLLAMA_VERSION
from spicy_avocado_magic.rehearsal.fake_downloads.archive import engine_script
from spicy_avocado_magic.rehearsal.fake_downloads.registry import create_registry
from spicy_avocado_magic.rehearsal.fake_downloads.releases import (
    RELEASES_PATH,
    create_releases,
)
from tests.loop_thread import LoopThread
from tests.machine_speed import scaled

SIZE = 80 << 20
HELD_AT = 50 << 20
_CALL_S = scaled(60.0)


class CountingWorld:
    """Release host and registry in a thread, which count and can hold bytes."""

    def __init__(self, folder: Path) -> None:
        self.sent: Counter[str] = Counter()
        """Bytes by the last part of their address."""
        self.is_held = threading.Event()
        """Set when as many bytes of two files as are let through have been sent."""
        self.sources = Endpoints()
        self._folder = folder
        self._released = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread = LoopThread()
        self._thread.run(self._start(), _CALL_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.run(self._stop(), _CALL_S)
        self._thread.close()

    def release(self) -> None:
        """Hold no byte back any more."""
        self._thread.call_soon(self._released.set)

    async def _start(self) -> None:
        tree = self._folder / "tree"
        (tree / "bin").mkdir(parents=True)
        (tree / "lib" / "ollama").mkdir(parents=True)
        program = tree / "bin" / "ollama"
        program.write_bytes(engine_script(OLLAMA_VERSION))
        program.chmod(0o755)
        noise = random.Random(1)
        (tree / "lib" / "ollama" / "libbig.so").write_bytes(noise.randbytes(SIZE))
        releases = create_releases(engine_tree=tree)
        registry = create_registry(noise.randbytes(SIZE))
        self._runners: list[web.AppRunner] = []
        self.sources = Endpoints(
            releases_url=f"http://{await self._open(releases)}{RELEASES_PATH}",
            registry=await self._open(registry),
        )

    async def _open(self, app: web.Application) -> str:
        app.on_response_prepare.append(self._watch)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        return f"{host}:{port}"

    async def _watch(self, request: web.Request, response: web.StreamResponse) -> None:
        name, write = request.path.rsplit("/", 1)[1], response.write

        async def counted(data: bytes) -> None:
            if self.sent[name] >= HELD_AT and not self._released.is_set():
                held = [size for size in self.sent.values() if size >= HELD_AT]
                if len(held) == 2:
                    self.is_held.set()
                await self._released.wait()
            self.sent[name] += len(data)
            await write(data)

        response.write = counted  # type: ignore[method-assign,assignment]

    async def _stop(self) -> None:
        self._released.set()
        for runner in self._runners:
            await runner.cleanup()
