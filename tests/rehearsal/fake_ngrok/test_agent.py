"""The stand-in agent as a program; pyngrok drives it in ``tests/tunnel``."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import stat
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from spicy_avocado_magic.rehearsal.fake_ngrok.agent import write_agent_script
from spicy_avocado_magic.rehearsal.fake_ngrok.edge import FakeNgrok
from tests.machine_speed import scaled

TOKEN = "2abcdefghijklmnopqrstuvwxyz_0123456789"


@pytest.fixture
async def address() -> AsyncIterator[str]:
    """Give the address of a running edge."""
    edge = FakeNgrok()
    yield await edge.start()
    await edge.close()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """Return a stand-in in a folder with a name that needs quoting."""
    folder = tmp_path / "it's a $folder"
    folder.mkdir()
    return write_agent_script(folder / "ngrok")


@asynccontextmanager
async def _started(
    script: Path, *options: str, **settings: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    config = script.with_name("ngrok.yml")
    config.write_text(yaml.safe_dump({"version": "3", "agent": settings}))
    child = await asyncio.create_subprocess_exec(
        script,
        *("start", "--none", "--log", "stdout", "--config", str(config), *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def _line_with(child: asyncio.subprocess.Process, text: str) -> str:
    assert child.stdout is not None
    async with asyncio.timeout(scaled(5)):
        while line := (await child.stdout.readline()).decode():
            if text in line:
                return line
    raise AssertionError(f"the agent ended without saying {text!r}")


def _addr(line: str) -> str:
    pairs = (item.partition("=") for item in shlex.split(line))
    return "http://" + {name: value for name, _, value in pairs}["addr"]


def test_it_prints_its_version_without_a_python(script: Path) -> None:
    """It costs a rehearsal no time that the user would notice."""
    message = subprocess.run(
        [script, "--version"],
        capture_output=True,
        text=True,
        check=True,
        cwd="/",
        env={"PYTHONHOME": "/nowhere"},
    )
    assert message.stdout == "ngrok version 3.30.0\n"


def test_a_token_can_be_saved_as_with_a_real_agent(
    script: Path, tmp_path: Path
) -> None:
    """``config add-authtoken`` keeps the other settings and makes the file private."""
    config = tmp_path / "ngrok.yml"
    config.write_text("version: 3\nagent:\n  web_addr: 127.0.0.1:5050\n")
    command = [str(script), "config", "add-authtoken", TOKEN]
    message = subprocess.run(
        [*command, "--log", "stdout", "--config", str(config)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Authtoken saved" in message.stdout
    agent = yaml.safe_load(config.read_text())["agent"]
    assert agent == {"web_addr": "127.0.0.1:5050", "authtoken": TOKEN}
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


async def test_its_local_api_is_that_of_a_real_agent(
    script: Path, address: str
) -> None:
    """Endpoints are made, listed and deleted over HTTP."""
    settings = {"authtoken": TOKEN, "connect_url": address}
    settings["web_addr"] = "127.0.0.1:14040"
    asked = {"name": "a", "upstream": {"url": "http://127.0.0.1:9"}, "inspect": False}
    async with _started(script, "--log-format", "logfmt", **settings) as child:
        api = _addr(await _line_with(child, "starting web service"))
        await _line_with(child, "tunnel session started")
        await _line_with(child, "client session established")
        async with aiohttp.ClientSession(api) as session:
            async with session.get("/api/status") as answer:
                assert (await answer.json())["status"] == "online"
            async with session.post("/api/endpoints", json=asked) as answer:
                assert answer.status == 201
                made = await answer.json()
            assert made["url"].startswith("http://127.0.0.1:")
            async with session.get("/api/endpoints") as answer:
                assert await answer.json() == {"endpoints": [made]}
            async with session.delete(made["uri"]) as answer:
                assert answer.status == 204
            async with session.delete(made["uri"]) as answer:
                assert answer.status == 404
            async with session.get("/api/endpoints") as answer:
                assert await answer.json() == {"endpoints": []}


async def test_a_refused_endpoint_is_a_502_with_the_reason(
    script: Path, address: str
) -> None:
    """The body is the one that real agents answer with."""
    settings = {"authtoken": TOKEN, "connect_url": address}
    asked = {"name": "a", "upstream": {"url": "http://127.0.0.1:9"}}
    async with _started(script, **settings) as child:
        api = _addr(await _line_with(child, "starting web service"))
        await _line_with(child, "client session established")
        async with aiohttp.ClientSession(api) as session:
            async with session.post("/api/endpoints", json=asked):
                pass
            asked["name"] = "b"
            async with session.post("/api/endpoints", json=asked) as answer:
                assert answer.status == 502
                message = json.loads(await answer.text())
        assert message["error_code"] == 103
        assert message["details"]["err"].endswith("ERR_NGROK_334\r\n")


async def test_a_refused_token_ends_it_with_the_reason(
    script: Path, address: str
) -> None:
    """The log has the error on one line, and the exit code is 1."""
    async with _started(
        script, authtoken="revoked_" + TOKEN, connect_url=address
    ) as child:
        line = await _line_with(child, "lvl=eror")
        assert "ERR_NGROK_107" in line
        async with asyncio.timeout(scaled(5)):
            assert await child.wait() == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it(script: Path, address: str, number: int) -> None:
    """It ends its session when a signal arrives."""
    async with _started(script, authtoken=TOKEN, connect_url=address) as child:
        await _line_with(child, "client session established")
        os.kill(child.pid, number)
        async with asyncio.timeout(scaled(5)):
            assert await child.wait() == 0
