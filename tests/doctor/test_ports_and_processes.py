"""Ports in use, and processes and records that dead daemons left."""

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
from spicy_avocado_magic.doctor import ports_and_processes
from spicy_avocado_magic.doctor.ports_and_processes import check_leftovers, check_ports
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
    """Run a process that does nothing and can be found by its arguments."""
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
    """Listen on a port that the check takes for the engine's usual one."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        number = int(held.getsockname()[1])
        monkeypatch.setattr(ports_and_processes, "DEFAULT_PORT", number)
        monkeypatch.setattr(ports_and_processes, "AGENT_PORT", 1)
        yield number


def test_a_port_used_by_another_program_is_reported(
    new_context: New, port: int
) -> None:
    """The message has the program's name and pid, but not its arguments."""
    found = check_ports(new_context())
    assert found.verdict is CheckStatus.WARNING, found
    assert f"Port {port} is used by" in found.what
    assert f"(pid {os.getpid()})" in found.what
    assert found.remedy


def test_a_port_used_by_our_own_service_is_fine(new_context: New, port: int) -> None:
    """The daemon itself counts as part of the service."""
    folder = StateFolder.find(rehearsal=False)
    folder.write_record(DaemonRecord(host=me()))
    found = check_ports(new_context())
    assert found.verdict is CheckStatus.OK, found
    assert f"Used by this service: {port}" in found.what


def test_a_port_used_by_a_child_of_the_daemon_is_ours(
    new_context: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine is a process in a group of its own."""
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
        monkeypatch.setattr(ports_and_processes, "DEFAULT_PORT", port)
        monkeypatch.setattr(ports_and_processes, "AGENT_PORT", 1)
        assert check_ports(new_context()).verdict is CheckStatus.WARNING, (
            "it is in no record yet"
        )
        identity = identify(engine.pid)
        assert identity is not None
        child = Child(name="engine", identity=identity)
        folder = StateFolder.find(rehearsal=False)
        folder.write_record(DaemonRecord(host=me(), children=(child,)))
        found = check_ports(new_context())
        engine.kill()
    assert found.verdict is CheckStatus.OK, found


def test_the_gateways_port_used_by_another_program_is_broken(
    new_context: New, port: int
) -> None:
    """It was requested, so no other port is used instead."""
    found = check_ports(new_context(settings=Settings(port=port)))
    assert found.verdict is CheckStatus.BROKEN, found
    assert "--port" in found.remedy


def test_a_port_that_the_platform_always_uses_is_reported_as_such(
    new_context: New, port: int
) -> None:
    """On Colab that is 8080, which will not become free."""
    platform = Platform(name="Google Colab", ports=(port,))
    found = check_ports(new_context(settings=Settings(port=port), platform=platform))
    assert "as always on Google Colab" in found.what, found
    found = check_ports(new_context(settings=Settings(port=port)))
    assert "as always" not in found.what, f"it is reported everywhere: {found}"


def test_a_system_that_hides_ports_is_unknown(
    new_context: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On macOS only root can see them."""

    def refuse(_kind: str) -> list[object]:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert check_ports(new_context()).verdict is CheckStatus.UNKNOWN


def test_free_ports_and_no_record_are_good(
    new_context: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is nothing to report."""
    monkeypatch.setattr(ports_and_processes, "DEFAULT_PORT", 1)
    monkeypatch.setattr(ports_and_processes, "AGENT_PORT", 1)
    assert check_ports(new_context()).verdict is CheckStatus.OK
    assert check_leftovers(new_context()).verdict is CheckStatus.OK


def test_a_running_daemon_is_not_left_over(new_context: New) -> None:
    """Neither are its children, such as the agent."""
    folder = StateFolder.find(rehearsal=True)
    with sleeper(str(folder.agent_config)) as agent:
        child = Child(name="agent", identity=agent)
        folder.write_record(DaemonRecord(host=me(), children=(child,)))
        found = check_leftovers(new_context())
    assert found.verdict is CheckStatus.OK, found


def test_what_a_dead_daemon_left_is_reported(new_context: New) -> None:
    """Its record and its live children are named, with the command that ends them."""
    folder = StateFolder.find(rehearsal=False)
    with sleeper() as engine:
        children = (
            Child(name="engine", identity=engine),
            Child(name="agent", identity=DEAD),
        )
        folder.write_record(DaemonRecord(host=DEAD, children=children))
        found = check_leftovers(new_context())
    assert found.verdict is CheckStatus.WARNING, found
    assert f"background process that died (pid {DEAD.pid})" in found.what
    assert f"engine (pid {engine.pid})" in found.what
    assert "its agent" not in found.what, "a child that has ended is reported"
    assert "%avocado_down" in found.remedy


def test_an_agent_that_is_not_in_the_record_is_reported(new_context: New) -> None:
    """It is recognised by its private configuration."""
    folder = StateFolder.find(rehearsal=False)
    folder.write_record(DaemonRecord(host=me()))
    with sleeper(str(folder.agent_config)) as agent:
        found = check_leftovers(new_context())
    assert found.verdict is CheckStatus.WARNING, found
    assert f"agent without a running service (pid {agent.pid})" in found.what


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("background process", "spicy_avocado_magic.daemon"),
        ("reaper", "spicy_avocado_magic.daemon.reaper"),
    ],
)
def test_a_daemon_or_reaper_without_a_record_is_reported(
    new_context: New, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    """Unless it has just been started, or uses another state folder."""
    long_launch = new_context(timeouts=replace(Timeouts(), launch_s=3600.0))
    short_launch = new_context(timeouts=replace(Timeouts(), launch_s=0.0))
    with sleeper(module) as stray:
        assert check_leftovers(long_launch).verdict is CheckStatus.OK
        deadline = time.monotonic() + scaled(10)
        while (found := check_leftovers(short_launch)).verdict is CheckStatus.OK:
            assert time.monotonic() < deadline, "it was not found"
        assert f"{name} without a record (pid {stray.pid})" in found.what
        assert f"!kill {stray.pid}" in found.remedy
        elsewhere = Path(os.environ["XDG_RUNTIME_DIR"], "elsewhere")
        elsewhere.mkdir(mode=0o700)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(elsewhere))
        assert check_leftovers(short_launch).verdict is CheckStatus.OK, (
            "it belongs to another folder"
        )
