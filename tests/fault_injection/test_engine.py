"""Faults of the stand-in engine, switched by a file while it runs."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from spicy_avocado_magic.rehearsal.fake_ollama.server import create_engine

from .engine import fault_middleware, main
from .faults import VARIABLE

HI = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name a file of faults, which is not there yet."""
    path = tmp_path / "faults.json"
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def switch(file: Path, faults: dict[str, object]) -> None:
    """Switch these on, and all others off."""
    file.write_text(json.dumps(faults))


async def test_faults_come_and_go_with_their_file(file: Path, tmp_path: Path) -> None:
    """A status for every request, and an error for each use of a model."""
    async with TestClient(
        TestServer(create_engine(tmp_path, "0.34.1", [fault_middleware]))
    ) as client:
        assert (await client.get("/api/version")).status == 200
        switch(file, {"status": 503})
        assert (await client.get("/api/version")).status == 503, "it still serves"
        switch(file, {"load": "out of memory"})
        refused = await client.post("/v1/chat/completions", json=HI)
        assert refused.status == 500, "a model is used all the same"
        assert (await refused.json())["error"]["message"] == "out of memory"
        assert (await client.get("/api/version")).status == 200, "no model is used"
        switch(file, {})
        unknown = await client.post("/v1/chat/completions", json=HI)
        assert unknown.status == 404, "the fault goes on"


async def test_a_slow_first_token_delays_the_answer(file: Path, tmp_path: Path) -> None:
    """The health check is not delayed by it."""
    switch(file, {"first_token_s": 60})
    async with TestClient(
        TestServer(create_engine(tmp_path, "0.34.1", [fault_middleware]))
    ) as client:
        chat = asyncio.ensure_future(client.post("/api/chat", json=HI))
        began = time.monotonic()
        assert (await client.get("/api/version")).status == 200
        assert time.monotonic() - began < 30, "the health check waited as well"
        assert not chat.done(), "the answer came at once"
        chat.cancel()


def test_a_server_that_cannot_start_says_why(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It exits at once with its reason."""
    switch(file, {"start": "Error: no libc"})
    assert main(["serve"]) == 1
    assert "Error: no libc" in capsys.readouterr().err
