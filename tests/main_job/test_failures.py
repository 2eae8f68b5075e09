"""Bad input and failure: one short error with a remedy, and nothing left running."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from spicy_avocado_magic import down, status
from spicy_avocado_magic.client.up import run_up
from spicy_avocado_magic.config.options import build_up_request
from spicy_avocado_magic.config.settings import Endpoints
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.errors import (
    AvocadoError,
    ChecksumMismatch,
    DiskTooSmall,
    EndpointUnavailable,
    EngineFailed,
    InvalidToken,
    ModelUnavailable,
    NetworkUnreachable,
    PortInUse,
    SecretMissing,
    StartTimeout,
    UsageError,
    UserActionRequired,
    VersionMismatch,
)
from spicy_avocado_magic.protocol.json_codec import to_json
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.rehearsal.fake_downloads.archive import build_archive
from spicy_avocado_magic.rehearsal.fake_downloads.releases import asset_names
from tests.machine_speed import scaled

from .chat import stream_chat
from .home import PACKAGE_PARENT, Home

TOKEN = "token-for-the-loopback-edge-0001"
QUICK = Timeouts(
    backoff_first_s=0.05, backoff_jitter_s=0.05, agent_start_s=4.0, probe_s=2.0
)


def _refuse(
    home: Home, kind: type[AvocadoError], *models: str, **options: object
) -> AvocadoError:
    """Bring up what must fail, and return the error; nothing may be left then."""
    options.setdefault("policy", QUICK)
    with pytest.raises(kind) as caught:
        home.up(*models, **options)  # type: ignore[arg-type]  # options of up
    assert status() is None, "a host outlived the failed up"
    left = home.wait_no_processes()
    assert not left, f"still running after the failed up: {left}"
    assert not home.secret_files(), "files with secrets outlived the failed up"
    assert caught.value.remedy, "the error names no remedy"
    return caught.value


def test_an_up_without_a_model_names_the_mistake(home: Home) -> None:
    """`%avocado_up` alone, with nothing running."""
    _refuse(home, UsageError)


def test_a_malformed_model_name_is_refused(home: Home) -> None:
    """A name that the engine would not accept."""
    error = _refuse(home, UsageError, "ti ny//x")
    assert "ti ny" in error.problem


def test_a_model_that_does_not_exist_is_named(home: Home) -> None:
    """The registry's 404 becomes a sentence that names the model."""
    error = _refuse(home, ModelUnavailable, "missing-model")
    assert "missing-model" in error.problem


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("gated-one", "public access"),
        ("newer-one", "needs a newer Ollama"),
        ("hf.co/somebody/missing-GGUF:Q4", "somebody/missing-GGUF:Q4"),
    ],
)
def test_each_refusal_of_a_registry_has_its_own_error(
    home: Home, name: str, problem: str
) -> None:
    """Each says what is wrong with which model, and what to do."""
    error = _refuse(home, ModelUnavailable, name, local=True)
    assert problem in error.problem, error
    model = name.rsplit("/", maxsplit=1)[-1].split(":", maxsplit=1)[0]
    assert model in error.problem, error


def test_a_missing_token_is_an_error_with_a_remedy(
    home: Home, world: Endpoints
) -> None:
    """Nobody to ask, and nowhere a token."""
    _refuse(home, SecretMissing, "tiny", sources=world)


def test_a_token_among_the_notebooks_variables_is_found(
    home: Home, world: Endpoints
) -> None:
    """It goes before the environment; a second `up` needs none at all."""
    request = build_up_request({"models": ("tiny",)})
    variables = {"NGROK_AUTHTOKEN": TOKEN}
    run_up(request, show=lambda _: None, namespace=variables, sources=world)
    config = home.state_folders[0] / "ngrok.yml"
    assert TOKEN in config.read_text()
    assert home.up("other", sources=world).outcome == "changed"


def test_a_malformed_token_is_refused_before_anything_starts(
    home: Home, world: Endpoints
) -> None:
    """105: refused by its shape, without its text in the message."""
    error = _refuse(home, InvalidToken, "tiny", sources=world, token="short one")
    assert "short one" not in str(error)
    assert not home.state_folders[0].joinpath("host.log").exists(), "a host was started"


def test_a_revoked_token_is_an_error_without_its_text(
    home: Home, world: Endpoints
) -> None:
    """107: the service refuses it; the message does not carry it."""
    token = "revoked-token-0123456789abcdef"
    error = _refuse(home, InvalidToken, "tiny", sources=world, token=token)
    assert "107" in str(error)
    assert token not in str(error)
    assert not any(token in line for line in error.log_tail)


def test_a_url_in_use_elsewhere_is_an_error(home: Home, world: Endpoints) -> None:
    """334: somebody else's endpoint is at this domain."""
    with _other_host(home, world):
        error = _refuse_beside(home, world, "334")
    assert isinstance(error, EndpointUnavailable)


def test_a_missing_network_is_shown_and_waited_for(
    home: Home, world: Endpoints
) -> None:
    """Neither edge, release host nor registry answers; the host goes on trying."""
    nowhere = replace(
        world,
        releases_url=f"http://127.0.0.1:{_closed_port()}/releases",
        registry=f"127.0.0.1:{_closed_port()}",
        edge_address=f"127.0.0.1:{_closed_port()}",
    )
    failures: dict[str, str] = {}

    def show(state: State) -> None:
        failures.update({s.name: s.failure.kind for s in state.stages if s.failure})

    policy = replace(QUICK, stalled_s=6.0)
    with pytest.raises(StartTimeout, match="keeps trying"):
        home.up("tiny", sources=nowhere, token=TOKEN, policy=policy, show=show)
    assert {"install", "pull"} <= set(failures), f"only these were shown: {failures}"
    assert set(failures.values()) == {NetworkUnreachable.__name__}, f"shown: {failures}"
    assert status() is not None, "the host does not go on"


@pytest.mark.parametrize("damage", ["truncated", "corrupt"])
def test_a_damaged_archive_is_an_error_and_never_run(
    home: Home, world: Endpoints, damage: str
) -> None:
    """A wrong checksum, twice, ends the install; no file of it is placed."""
    with _damaged_releases(damage) as url:
        sources = replace(world, releases_url=url)
        _refuse(home, ChecksumMismatch, "tiny", sources=sources, token=TOKEN)
    placed = list((home.path / "cache").rglob("bin/ollama"))
    assert not placed, f"a damaged engine was placed: {placed}"


def test_a_disk_too_small_for_the_model_is_an_error_before_the_first_byte(
    home: Home, world: Endpoints
) -> None:
    """The manifest's sizes are held against the disk."""
    with _huge_registry() as (registry, asked):
        sources = replace(world, registry=registry)
        error = _refuse(home, DiskTooSmall, "huge", sources=sources, token=TOKEN)
    assert "GB are free" in error.problem, error.problem
    assert not any("/blobs/" in path for path in asked), "bytes were fetched"


def test_a_port_in_use_is_an_error(home: Home) -> None:
    """`--port` of another program."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        error = _refuse(home, PortInUse, "tiny", port=port)
    assert str(port) in error.problem


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ('echo "ngrok version 3.3.1"', UserActionRequired),
        ("exit 3", AvocadoError),
        ("sleep 600", AvocadoError),
    ],
    ids=["too old", "broken", "silent"],
)
def test_an_agent_that_cannot_be_used_is_an_error(
    home: Home, world: Endpoints, tmp_path: Path, script: str, kind: type[AvocadoError]
) -> None:
    """An old, broken or silent ngrok program."""
    agent = _program(tmp_path / "ngrok", script)
    sources = replace(world, tunnel_program=str(agent))
    policy = replace(QUICK, agent_start_s=1.0, request_s=1.0)
    _refuse(home, kind, "tiny", sources=sources, token=TOKEN, policy=policy)


def test_an_engine_that_dies_at_start_shows_its_last_lines(
    home: Home, world: Endpoints, tmp_path: Path
) -> None:
    """The engine's own words come with the error."""
    script = (
        'case "$1" in --version) echo "ollama version is 0.34.1";;'
        ' *) echo "Error: cannot find my stomach" >&2; exit 77;; esac'
    )
    engine = _program(tmp_path / "ollama", script)
    sources = replace(world, engine_path=str(engine))
    error = _refuse(home, EngineFailed, "tiny", sources=sources, token=TOKEN)
    assert any("cannot find my stomach" in line for line in error.log_tail)


def test_an_interrupt_takes_back_what_up_began(home: Home) -> None:
    """Ctrl-C during `up` leaves no process and no secret."""
    script = (
        "import signal\n"
        "from spicy_avocado_magic import up\n"
        "def show(state):\n"
        "    print('on', flush=True)\n"
        "    signal.pause()\n"  # else a slow signal may find it ready
        "up('tiny', rehearse=True, show=show)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(PACKAGE_PARENT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "on\n"
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=scaled(20))
    assert run.returncode != 0
    assert "Interrupted" in errors
    assert status() is None
    assert not home.wait_no_processes()


def test_a_host_of_another_protocol_is_an_error_and_can_be_replaced(home: Home) -> None:
    """An upgraded client cannot use the running host; --restart replaces it."""
    avocado = home.up("tiny")
    key = avocado.api_key
    folder = StateFolder.find(rehearsal=True)
    record = folder.read_record()
    assert record is not None
    folder.write_record(replace(record, protocol=record.protocol + 1))
    with pytest.raises(VersionMismatch, match="--restart"):
        home.up("tiny")
    with pytest.raises(VersionMismatch):
        status()
    again = home.up(restart=True)
    assert again.api_key == key
    assert stream_chat(again.url, key)


@pytest.mark.parametrize("where", ["option", "environment"])
def test_the_token_is_in_its_file_and_nowhere_else(
    home: Home, world: Endpoints, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """No process shows it in argv or environment, no other file or output has it."""
    texts: list[str] = []
    given: dict[str, Any] = {"token": TOKEN} if where == "option" else {}
    if where == "environment":
        monkeypatch.setenv("NGROK_AUTHTOKEN", TOKEN)
    avocado = home.up(
        "tiny", sources=world, show=lambda state: texts.append(repr(state)), **given
    )
    processes = [*home.processes(), psutil.Process()]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            shown = " ".join(process.cmdline()) + json.dumps(process.environ())
            assert TOKEN not in shown, f"in argv or environment of {process}"
    holders = [
        file.name
        for file in home.path.rglob("*")
        if file.is_file() and TOKEN.encode() in file.read_bytes()
    ]
    assert holders == ["ngrok.yml"], f"the token is in {holders}"
    config = home.state_folders[0] / "ngrok.yml"
    assert config.stat().st_mode & 0o777 == 0o600
    assert not any(TOKEN in text for text in (*texts, repr(avocado.status())))


def _program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def _other_host(home: Home, world: Endpoints) -> Iterator[None]:
    """Let another notebook, with a state folder of its own, hold the URL."""
    script = (
        "import json, sys\n"
        "from spicy_avocado_magic.client.up import run_up\n"
        "from spicy_avocado_magic.client.api import down\n"
        "from spicy_avocado_magic.protocol.json_codec import from_json\n"
        "from spicy_avocado_magic.config.options import build_up_request\n"
        "from spicy_avocado_magic.config.settings import Endpoints\n"
        "sources = from_json(Endpoints, json.loads(sys.argv[1]))\n"
        "request = build_up_request({'models': ('tiny',), 'token': sys.argv[2]})\n"
        "run_up(request, show=lambda s: None, sources=sources)\n"
        "print('up', flush=True)\n"
        "sys.stdin.read()\n"
        "down()\n"
    )
    elsewhere = home.path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    with subprocess.Popen(
        [sys.executable, "-c", script, json.dumps(to_json(world)), TOKEN],
        env=os.environ
        | {"PYTHONPATH": str(PACKAGE_PARENT), "XDG_RUNTIME_DIR": str(elsewhere)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "up\n", "the other notebook did not start"
        yield
        other.communicate(timeout=scaled(20))


def _refuse_beside(home: Home, world: Endpoints, code: str) -> AvocadoError:
    with pytest.raises(AvocadoError, match=code) as caught:
        home.up("tiny", sources=world, token=TOKEN, policy=QUICK)
    assert status() is None
    return caught.value


@contextlib.contextmanager
def _serving(
    answer: Callable[[str], tuple[int, bytes]],
) -> Iterator[tuple[str, list[str]]]:
    """Serve bytes on loopback; yield its address and the paths asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            code, body = answer(self.path)
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def _damaged_releases(damage: str) -> Iterator[str]:
    def answer(path: str) -> tuple[int, bytes]:
        name = path.rsplit("/", 1)[-1]
        if name == "sha256sum.txt":
            lines = [
                f"{hashlib.sha256(build_archive('0.34.1', name)).hexdigest()}  ./{name}"
                for name in asset_names("0.34.1")
            ]
            return 200, "\n".join(lines).encode()
        whole = build_archive("0.34.1", name)
        if damage == "truncated":
            return 200, whole[: len(whole) // 2]
        return 200, whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:]

    with _serving(answer) as (address, _):
        yield f"http://{address}/releases"


@contextlib.contextmanager
def _huge_registry() -> Iterator[tuple[str, list[str]]]:
    manifest = {
        "schemaVersion": 2,
        "config": {"digest": "sha256:" + "0" * 64, "size": 10},
        "layers": [{"digest": "sha256:" + "1" * 64, "size": 10**16}],
    }
    with _serving(lambda _: (200, json.dumps(manifest).encode())) as (address, asked):
        yield address, asked


def test_the_quick_policy_is_still_patient_enough_for_success(
    home: Home, world: Endpoints
) -> None:
    """The policy of these tests lets a sound world come up; it does not fail all."""
    began = time.monotonic()
    avocado = home.up("tiny", sources=world, token=TOKEN, policy=QUICK)
    assert avocado.outcome == "launched", f"after {time.monotonic() - began:.1f} s"
    down()
