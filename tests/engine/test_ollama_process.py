"""One life of the engine, with stubs that misbehave and with real ones."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import psutil
import pytest

from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.engine import ollama_process as server_module
from spicy_avocado_magic.engine.ollama_process import OllamaProcess, free_port
from spicy_avocado_magic.errors import EngineFailed
from spicy_avocado_magic.system.process_log import ProcessLog
from spicy_avocado_magic.system.processes import Identity
from tests.machine_speed import scaled

STUB = f"""#!{sys.executable}
import http.server, os, pathlib, signal, subprocess, sys
assert sys.argv[1:] == ["serve"], sys.argv
host, port = os.environ["OLLAMA_HOST"].split(":")
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{{"version": "0.34.1"}}')
"""
SERVE = "http.server.HTTPServer((host, int(port)), Answer).serve_forever()\n"
RUNNER = (
    "child = subprocess.Popen(['sleep', '1000'])\n"
    "pathlib.Path(os.environ['OLLAMA_MODELS'], 'runner').write_text(str(child.pid))\n"
)

MakeServer = Callable[..., OllamaProcess]


@pytest.fixture
async def make_server(tmp_path: Path, timeouts: Timeouts) -> AsyncIterator[MakeServer]:
    """Return a function that makes an engine from a script or a program."""
    made: list[OllamaProcess] = []

    def make(
        program: str | Path,
        *,
        waits: Timeouts = timeouts,
        on_spawn: Callable[[Identity], None] = lambda _identity: None,
    ) -> OllamaProcess:
        executable = tmp_path / "ollama" if isinstance(program, str) else program
        if isinstance(program, str):
            executable.write_text(STUB + program)
            executable.chmod(0o755)
        server = OllamaProcess(
            executable=executable,
            models_dir=tmp_path / "models",
            log=ProcessLog(tmp_path / "engine.log"),
            settings=Settings(),
            timeouts=waits,
            on_spawn=on_spawn,
        )
        made.append(server)
        return server

    yield make
    for server in made:
        await server.stop(0)


async def runner_of(tmp_path: Path) -> psutil.Process:
    """Return the stub's child."""
    return psutil.Process(int((tmp_path / "models" / "runner").read_text()))


async def is_gone(process: psutil.Process) -> bool:
    """Whether a process ends within a second, be it reaped or not."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for _ in range(100):
            if process.status() == psutil.STATUS_ZOMBIE:
                return True
            await asyncio.sleep(0.01)
        return False
    return True


async def test_a_real_engine_starts_answers_and_ends(
    make_server: MakeServer, real_ollama: Path
) -> None:
    """Its identity is reported at once; it answers on loopback and leaves nothing."""
    spawned: list[Identity] = []
    server = make_server(real_ollama, on_spawn=spawned.append)
    await server.start()
    # Another program may take the port first: then there was a try before.
    assert spawned[-1] == server.identity
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{server.base_url}/api/version") as response,
    ):
        version = await response.json()
    assert version["version"] == real_ollama.parent.parent.name
    assert await server.is_healthy()
    assert "CPU" in server.detected_devices().text
    await server.stop(2)
    assert not any(identity.is_alive for identity in spawned)
    assert not await server.is_healthy()


async def test_a_killed_real_engine_is_noticed_and_restarted(
    make_server: MakeServer, real_ollama: Path
) -> None:
    """A kill -9 ends ``wait_exit`` within a moment; the next life works."""
    server = make_server(real_ollama)
    await server.start()
    assert server.identity is not None
    os.kill(server.identity.pid, signal.SIGKILL)
    async with asyncio.timeout(scaled(1)):
        await server.wait_exit()
    await server.stop(0)
    second = make_server(real_ollama)
    await second.start()
    assert await second.is_healthy()


async def test_an_engine_that_dies_at_start_shows_its_last_lines(
    make_server: MakeServer,
) -> None:
    """The error carries the log's end, freed of control characters."""
    server = make_server("sys.exit('Error: \\x1b[31mhome is not writable')\n")
    with pytest.raises(EngineFailed) as caught:
        await server.start()
    assert caught.value.log_tail == ("Error: home is not writable",)


async def test_an_older_lifes_lines_are_not_shown(
    make_server: MakeServer, tmp_path: Path
) -> None:
    """The log is appended to, and each life knows its own part."""
    (tmp_path / "engine.log").write_text('msg="inference compute" library=cpu\nold\n')
    server = make_server("sys.exit('new')\n")
    with pytest.raises(EngineFailed) as caught:
        await server.start()
    assert caught.value.log_tail == ("new",)
    assert server.detected_devices().text == ""
    assert "old" in (tmp_path / "engine.log").read_text()


async def test_a_silent_engine_is_not_waited_for_for_ever(
    make_server: MakeServer, timeouts: Timeouts
) -> None:
    """Neither dying nor answering has an end too."""
    waits = replace(timeouts, engine_start_s=0.3)
    server = make_server("import time; time.sleep(1000)\n", waits=waits)
    with pytest.raises(EngineFailed, match="does not answer"):
        await server.start()


async def test_a_program_that_cannot_run_is_an_error(
    make_server: MakeServer, tmp_path: Path
) -> None:
    """A missing or broken executable is an error of the engine."""
    with pytest.raises(EngineFailed, match="cannot be started"):
        await make_server(tmp_path / "nowhere").start()


async def test_runners_end_with_the_engine(
    make_server: MakeServer, tmp_path: Path
) -> None:
    """Stopping ends the whole group, grandchildren too."""
    server = make_server(RUNNER + SERVE)
    await server.start()
    runner = await runner_of(tmp_path)
    await server.stop(1)
    assert await is_gone(runner), "a runner outlived the engine"


async def test_runners_of_a_killed_engine_end_too(
    make_server: MakeServer, tmp_path: Path
) -> None:
    """An orphan would keep its GPU memory."""
    server = make_server(RUNNER + SERVE)
    await server.start()
    runner = await runner_of(tmp_path)
    assert server.identity is not None
    os.kill(server.identity.pid, signal.SIGKILL)
    await server.wait_exit()
    await server.stop(1)
    assert await is_gone(runner), "a runner outlived the engine"


async def test_an_engine_that_ignores_term_is_killed(make_server: MakeServer) -> None:
    """The grace is a bound."""
    server = make_server("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVE)
    await server.start()
    identity = server.identity
    async with asyncio.timeout(scaled(2)):
        await server.stop(0.1)
    assert identity is not None
    assert not identity.is_alive


async def test_a_cancelled_stop_still_kills(make_server: MakeServer) -> None:
    """A second cancel leaves nothing behind."""
    server = make_server("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVE)
    await server.start()
    identity = server.identity
    stopping = asyncio.create_task(server.stop(60))
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    async with asyncio.timeout(scaled(1)):
        await server.wait_exit()
    assert identity is not None
    assert not identity.is_alive


async def test_the_usual_port_is_used_where_it_is_free(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    """Tools that look for Ollama in its usual place find it."""
    monkeypatch.setattr(server_module, "DEFAULT_PORT", unused_tcp_port)
    server = make_server(SERVE)
    await server.start()
    assert server.base_url == f"http://127.0.0.1:{unused_tcp_port}"


async def test_a_taken_port_is_left_to_its_owner(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the usual port is in use, any free one does."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setattr(server_module, "DEFAULT_PORT", taken)
        server = make_server(SERVE)
        await server.start()
    assert not server.base_url.endswith(f":{taken}")


async def test_a_port_lost_in_between_is_replaced(
    make_server: MakeServer, real_ollama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program on our port is not taken for the engine."""
    asked = iter([True])

    async def other_program(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(other_program, "127.0.0.1", 0)
    taken = int(listener.sockets[0].getsockname()[1])
    monkeypatch.setattr(
        server_module,
        "free_port",
        lambda wanted: taken if next(asked, False) else free_port(0),
    )
    async with listener:
        server = make_server(real_ollama)
        await server.start()
        assert not server.base_url.endswith(f":{taken}")
        assert "address already in use" in server.log.path.read_text()
