"""Process of the rehearsal's loopback world, started by the daemon."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

from ..config.settings import Endpoints
from ..errors import ComponentFailed
from ..protocol.json_codec import from_json
from ..system.processes import Identity, identify


async def start_world(folder: Path, log: Path, *, ready_s: float) -> RehearsalProcess:
    """Start the loopback world; it ends when its standard input closes.

    Raises:
        ComponentFailed: If it does not send its addresses within ``ready_s`` seconds.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "spicy_avocado_magic.rehearsal", str(folder)]
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    world = RehearsalProcess(process, folder)
    try:
        if process.stdout is None:
            raise _no_world()
        async with asyncio.timeout(ready_s):
            line = await process.stdout.readline()
        world.sources = from_json(Endpoints, json.loads(line))
    except (TimeoutError, ValueError, TypeError) as error:
        await world.stop()
        raise _no_world() from error
    return world


def _no_world() -> ComponentFailed:
    return ComponentFailed(
        "The rehearsal's loopback world did not start.",
        "See rehearsal.log in the state folder, then run %avocado_up again.",
    )


class RehearsalProcess:
    """A running loopback world and its addresses."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self._process, self._folder = process, folder
        self.sources = Endpoints()

    @property
    def identity(self) -> Identity | None:
        """The leader of its process group."""
        return identify(self._process.pid)

    async def stop(self) -> None:
        """End it, and remove everything that the rehearsal wrote to disk."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(1.0):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)
