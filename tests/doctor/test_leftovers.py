"""Ports that are held, and what hosts that died have left."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.doctor import leftovers
from spicy_avocado_magic.doctor.leftovers import check_leftovers, check_ports
from spicy_avocado_magic.protocol.finding import CheckStatus
from spicy_avocado_magic.protocol.state_folder import Child, DaemonRecord, StateFolder
from spicy_avocado_magic.system.platforms import Platform
from spicy_avocado_magic.system.processes import Identity, identify
from tests.machine_speed import scaled

from .conftest import New

DEAD = Identity(pid=2**22 + 1, start="never")


def me() -> Identity:
    """Return this process."""
    found = identify(os.getpid())
    assert found is not None
    return found


@contextlib.contextmanager
def sleeper(*arguments: str) -> Iterator[Identity]:
    """Run a process of our own that does nothing, with arguments to be found by."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()", *arguments],
        stdin=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        found = identify(process.pid)
        assert found is not None
        yield found
        process.kill()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Hold a port, which is taken for the engine's usual one."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        number = int(held.getsockname()[1])
        monkeypatch.setattr(leftovers, "DEFAULT_PORT", number)
        monkeypatch.setattr(leftovers, "AGENT_PORT", 1)
        yield number


def test_a_usual_port_in_other_hands_is_told(new_case: New, port: int) -> None:
    """With the program's name and pid, and nothing of its arguments."""
    found = check_ports(new_case())
    assert found.verdict is CheckStatus.WARNING, found
    assert f"{port} is held by" in found.what
    assert f"(pid {os.getpid()})" in found.what
    assert found.remedy


def test_a_usual_port_in_our_own_hands_is_good(new_case: New, port: int) -> None:
    """As by the engine of the service that runs."""
    folder = StateFolder.find(rehearsal=False)
    folder.write_record(DaemonRecord(host=me()))
    found = check_ports(new_case())
    assert found.verdict is CheckStatus.OK, found
    assert f"{port} by this service" in found.what


def test_a_port_that_a_child_of_the_host_holds_is_ours(
    new_case: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine is a process of its own, in a group of its own."""
    code = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); "
        "print(s.getsockname()[1], flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as engine:
        assert engine.stdout is not None
        port = int(engine.stdout.readline())
        monkeypatch.setattr(leftovers, "DEFAULT_PORT", port)
        monkeypatch.setattr(leftovers, "AGENT_PORT", 1)
        assert check_ports(new_case()).verdict is CheckStatus.WARNING, (
            "nobody's child yet"
        )
        identity = identify(engine.pid)
        assert identity is not None
        child = Child(name="engine", identity=identity)
        folder = StateFolder.find(rehearsal=False)
        folder.write_record(DaemonRecord(host=me(), children=(child,)))
        found = check_ports(new_case())
        engine.kill()
    assert found.verdict is CheckStatus.OK, found


def test_the_gateways_port_in_other_hands_is_worse(new_case: New, port: int) -> None:
    """It was asked for, so that no other is taken instead."""
    found = check_ports(new_case(settings=Settings(port=port)))
    assert found.verdict is CheckStatus.BROKEN, found
    assert "--port" in found.remedy


def test_a_port_that_the_platform_keeps_is_told_as_its_own(
    new_case: New, port: int
) -> None:
    """As 8080 on Colab: nothing is wrong there, and it will not become free."""
    platform = Platform(name="Google Colab", ports=(port,))
    found = check_ports(new_case(settings=Settings(port=port), platform=platform))
    assert "as always on Google Colab" in found.what, found
    found = check_ports(new_case(settings=Settings(port=port)))
    assert "as always" not in found.what, f"it is told everywhere: {found}"


def test_a_system_that_does_not_tell_ports_is_no_error(
    new_case: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As macOS, where only root is told."""

    def refuse(_kind: str) -> list[object]:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert check_ports(new_case()).verdict is CheckStatus.UNKNOWN


def test_free_ports_and_no_record_are_good(
    new_case: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing to tell."""
    monkeypatch.setattr(leftovers, "DEFAULT_PORT", 1)
    monkeypatch.setattr(leftovers, "AGENT_PORT", 1)
    assert check_ports(new_case()).verdict is CheckStatus.OK
    assert check_leftovers(new_case()).verdict is CheckStatus.OK


def test_a_living_host_is_no_remains(new_case: New) -> None:
    """Neither are its children, its agent among them."""
    folder = StateFolder.find(rehearsal=True)
    with sleeper(str(folder.agent_config)) as agent:
        child = Child(name="agent", identity=agent)
        folder.write_record(DaemonRecord(host=me(), children=(child,)))
        found = check_leftovers(new_case())
    assert found.verdict is CheckStatus.OK, found


def test_what_a_dead_host_has_left_is_told(new_case: New) -> None:
    """Its record and what of its children lives, with the command that sweeps."""
    folder = StateFolder.find(rehearsal=False)
    with sleeper() as engine:
        children = (
            Child(name="engine", identity=engine),
            Child(name="agent", identity=DEAD),
        )
        folder.write_record(DaemonRecord(host=DEAD, children=children))
        found = check_leftovers(new_case())
    assert found.verdict is CheckStatus.WARNING, found
    assert f"dead host (pid {DEAD.pid})" in found.what
    assert f"engine (pid {engine.pid})" in found.what
    assert "its agent" not in found.what, "what has ended is told"
    assert "%avocado_down" in found.remedy


def test_an_agent_without_a_host_is_told(new_case: New) -> None:
    """It is known by its private configuration."""
    folder = StateFolder.find(rehearsal=False)
    folder.write_record(DaemonRecord(host=me()))
    with sleeper(str(folder.agent_config)) as agent:
        found = check_leftovers(new_case())
    assert found.verdict is CheckStatus.WARNING, found
    assert f"agent of nobody (pid {agent.pid})" in found.what


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("host", "spicy_avocado_magic.daemon"),
        ("guard", "spicy_avocado_magic.daemon.reaper"),
    ],
)
def test_a_host_or_guard_without_a_record_is_told(
    new_case: New, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    """Unless it has only just been started, or keeps its state elsewhere."""
    patient = new_case(policy=replace(Timeouts(), launch_s=3600.0))
    hasty = new_case(policy=replace(Timeouts(), launch_s=0.0))
    with sleeper(module) as stray:
        assert check_leftovers(patient).verdict is CheckStatus.OK
        deadline = time.monotonic() + scaled(10)
        while (found := check_leftovers(hasty)).verdict is CheckStatus.OK:
            assert time.monotonic() < deadline, "a stray was not found"
        assert f"{name} of nobody (pid {stray.pid})" in found.what
        assert f"!kill {stray.pid}" in found.remedy
        elsewhere = Path(os.environ["XDG_RUNTIME_DIR"], "elsewhere")
        elsewhere.mkdir(mode=0o700)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(elsewhere))
        assert check_leftovers(hasty).verdict is CheckStatus.OK, (
            "it is of another folder"
        )
