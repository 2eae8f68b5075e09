"""A gateway before a real Ollama with two models."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from spicy_avocado_magic.rehearsal.fake_downloads.tiny_gguf import tiny_gguf
from tests.machine_speed import scaled

from .conftest import OWNER, WITH_KEY, Front, Open

FEW: Final = {"num_predict": 4}
LOG: Final = "engine.log"
"""In the test's own folder."""


async def _until_it_answers(url: str) -> None:
    async with aiohttp.ClientSession() as client, asyncio.timeout(scaled(60)):
        while True:
            try:
                async with client.get(f"{url}/api/version"):
                    return
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0.05)


@pytest.fixture(name="real")
async def real_gateway(
    real_ollama: Path, open_gateway: Open, tmp_path: Path, unused_tcp_port: int
) -> AsyncIterator[Front]:
    """A gateway before a real engine with two models, installed through it."""
    url = f"http://127.0.0.1:{unused_tcp_port}"
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "OLLAMA_HOST": url,
        "OLLAMA_MODELS": str(tmp_path / "models"),
        "OLLAMA_NO_CLOUD": "1",
    }
    with (tmp_path / LOG).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            real_ollama,
            "serve",
            env=environ,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        await _until_it_answers(url)
        front = await open_gateway(path_key=True, manage=True)
        front.gateway.set_upstream(url)
        weights = tiny_gguf()
        # Models of the same weights share a runner, which has the first one's name.
        for name, blob in (("tiny", weights), ("other", weights[:-4] + bytes(4))):
            digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
            await done(front, "POST", f"/api/blobs/{digest}", data=blob)
            asked = {"model": name, "files": {"tiny.gguf": digest}, "parameters": FEW}
            await done(front, "POST", "/api/create", json=asked)
        front.gateway.access = replace(OWNER, path_key=True)
        yield front
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def done(front: Front, method: str, path: str, **sent: Any) -> bytes:
    """Return a reply's body; the request must succeed within a long time-out."""
    patient = aiohttp.ClientTimeout(total=scaled(60))
    status, _, body = await front.call(
        method, path, headers=WITH_KEY, timeout=patient, **sent
    )
    assert status < 300, f"{path}: {status} {body!r}"
    return body
