"""The stand-in program starts, ends on a signal, and fails as Ollama does."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from spicy_avocado_magic.rehearsal.fake_downloads.archive import engine_script
from spicy_avocado_magic.rehearsal.fake_ollama import cli
from tests.machine_speed import scaled

from ..conftest import Serve, call


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The stand-in's executable, as it comes out of the archive."""
    path = tmp_path / "ollama"
    path.write_bytes(engine_script("0.34.1"))
    path.chmod(0o755)
    return path


async def test_it_serves_soon_and_ends_on_a_signal(program: Path, serve: Serve) -> None:
    """SIGTERM is a clean end, and nobody waits long for the start."""
    began = time.monotonic()
    async with serve(program) as served:
        assert time.monotonic() - began < scaled(3), "the start took too long"
        served.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(served.process.wait(), scaled(3)) == 0


async def test_a_client_that_leaves_ends_its_work(
    program: Path, serve: Serve, registry: str
) -> None:
    """The log says so, for tests of what stands before the engine."""
    name = f"{registry}/library/tiny"
    async with serve(program) as served, aiohttp.ClientSession() as session:
        await call(f"{served.url}/api/pull", json={"model": name, "insecure": True})
        ask = {"model": name, "prompt": "word " * 10_000, "stream": False}
        url = f"{served.url}/api/generate"
        asked = asyncio.create_task(session.post(url, json=ask))
        while b"tiny" not in (await call(f"{served.url}/api/ps")).content:
            assert not asked.done(), "it answered at once"
        asked.cancel()
        async with asyncio.timeout(scaled(5)):
            await call(url, json=ask | {"prompt": "next"})
        assert 'msg="client gone" path=/api/generate' in served.log.read_text()


async def test_a_port_in_use_is_reported_in_ollamas_words(
    program: Path, serve: Serve
) -> None:
    """The product looks for these words in the log."""
    async with serve(program) as served:
        address = served.url.removeprefix("http://")
        second = await asyncio.create_subprocess_exec(
            program,
            "serve",
            env={"OLLAMA_HOST": address, "HOME": str(program.parent)},
            stderr=asyncio.subprocess.PIPE,
        )
        _, message = await second.communicate()
    assert second.returncode == 1
    response = f"Error: listen tcp {address}: bind: address already in use\n"
    assert message.decode() == response


def test_the_port_of_a_listener_that_died_is_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An engine that comes back finds its old port, though clients linger."""
    with socket.create_server(("127.0.0.1", 0)) as old:
        port = old.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        peer, _ = old.accept()
        peer.close()
    client.close()
    served: list[socket.socket] = []

    async def serve(listener: socket.socket, *_more: object) -> None:
        served.append(listener)
        listener.close()

    monkeypatch.setattr("spicy_avocado_magic.rehearsal.fake_ollama.server.serve", serve)
    monkeypatch.setenv("OLLAMA_HOST", f"http://127.0.0.1:{port}")
    assert cli.main(["serve"]) == 0
    assert served, "it did not serve"


def test_other_commands_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """It is a stage set: it says what it knows."""
    assert cli.main(["run", "tiny"]) == 1
    assert "serve, create NAME -f FILE and --version" in capsys.readouterr().err


def test_its_version_costs_no_server() -> None:
    """``--version`` answers without loading the web server."""
    code = (
        "import sys; from spicy_avocado_magic.rehearsal.fake_ollama import cli; "
        "cli.main(['--version']); assert 'aiohttp' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
