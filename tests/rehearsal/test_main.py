"""The world's process says where it is, and ends with its parent."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from spicy_avocado_magic.config.settings import Endpoints
from spicy_avocado_magic.protocol.json_codec import from_json
from tests.machine_speed import scaled

from .conftest import call

ROOT = Path(__file__).parents[2]


def _left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def _start(folder: Path) -> tuple[asyncio.subprocess.Process, Endpoints]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "spicy_avocado_magic.rehearsal", str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), scaled(10))
    return process, from_json(Endpoints, json.loads(line))


@pytest.mark.parametrize("how", ["stdin", "SIGTERM", "SIGINT"])
async def test_it_ends_and_leaves_nothing(tmp_path: Path, how: str) -> None:
    """The end of its input is as good as a signal."""
    process, sources = await _start(tmp_path)
    url = f"{sources.releases_url}/latest"
    assert (await call(url)).status == 302, "the line came before the world was open"
    assert process.stdin is not None
    if how == "stdin":
        process.stdin.close()
    else:
        process.send_signal(signal.Signals[how])
    assert await asyncio.wait_for(process.wait(), scaled(5)) == 0
    process.stdin.close()
    with pytest.raises(aiohttp.ClientConnectionError):
        await call(url)
    assert not _left_in(tmp_path), "a file was left behind"
