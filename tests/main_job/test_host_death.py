"""What is left when the host, or what it watches, dies; and how it comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from spicy_avocado_magic import down, status
from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.protocol.state_folder import StateFolder
from tests.machine_speed import scaled

from .chat import stream_chat
from .home import PACKAGE_PARENT, Home


def _group(name: str) -> psutil.Process:
    record = StateFolder.find(rehearsal=True).read_record()
    assert record is not None, "no record of a running host"
    pids = {child.name: child.identity.pid for child in record.children}
    return psutil.Process(pids[name])


def _guards(home: Home) -> list[psutil.Process]:
    module = "spicy_avocado_magic.daemon.reaper"
    return home.running(module)


def _state(avocado: Avocado) -> State:
    state = avocado.status()
    assert state is not None, "the host is gone"
    return state


def _wait_whole_again(
    avocado: Avocado, event: int, within_s: float = scaled(10.0)
) -> None:
    """Wait until something happened since ``event`` and all is ready again."""
    deadline = time.monotonic() + within_s
    while _state(avocado).sequence <= event or not _state(avocado).is_ready:
        assert time.monotonic() < deadline, f"not whole again: {_state(avocado)}"
        time.sleep(0.02)


@pytest.mark.alone
def test_killing_the_host_ends_agent_and_engine_within_a_second(home: Home) -> None:
    """The guard ends what the host started, so that no tunnel outlives the gateway."""
    home.up("tiny")
    record = StateFolder.find(rehearsal=True).read_record()
    assert record is not None
    assert {child.name for child in record.children} == {"agent", "engine", "rehearsal"}
    os.kill(record.host.pid, signal.SIGKILL)
    # Not psutil's wait: it takes a zombie that nobody has reaped yet for alive.
    deadline = time.monotonic() + scaled(1.0)
    while alive := [c.name for c in record.children if c.identity.is_alive]:
        assert time.monotonic() < deadline, f"a second later {alive} still live"
        time.sleep(0.01)


def test_up_after_a_killed_host_restores_key_and_models(home: Home) -> None:
    """What was wanted outlives the host; nothing has to be typed again."""
    avocado = home.up("tiny", "other")
    key = avocado.api_key
    os.kill(_state(avocado).pid, signal.SIGKILL)
    assert not home.wait_no_processes(), "something outlived the host"
    again = home.up()
    assert again.outcome == "launched"
    assert again.api_key == key
    assert again.models == ("tiny", "other")
    assert stream_chat(again.url, key)


def test_down_sweeps_when_host_and_guard_were_killed(home: Home) -> None:
    """With nobody left to end them, the next `down` ends agent and engine."""
    avocado = home.up("tiny")
    pid = _state(avocado).pid
    os.kill(_guards(home)[0].pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    ended = down()
    assert "engine" in ended[0].processes, ended
    assert not home.wait_no_processes()


def test_status_sweeps_and_finds_nothing_when_host_and_guard_were_killed(
    home: Home,
) -> None:
    """`status` says that nothing runs, and ends what is left."""
    avocado = home.up("tiny")
    pid = _state(avocado).pid
    os.kill(_guards(home)[0].pid, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    assert status() is None
    assert not home.wait_no_processes()


@pytest.mark.parametrize("name", ["engine", "agent"])
def test_a_killed_child_comes_back_with_url_key_and_models(
    home: Home, name: str
) -> None:
    """Recovery is the same code as the first start."""
    avocado = home.up("tiny")
    before = _state(avocado)
    os.kill(_group(name).pid, signal.SIGKILL)
    _wait_whole_again(avocado, before.sequence)
    after = _state(avocado)
    assert (after.url, after.api_key) == (before.url, before.api_key)
    assert stream_chat(after.url, after.api_key)


def test_a_killed_guard_is_replaced(home: Home) -> None:
    """A host always has one."""
    home.up("tiny", policy=Timeouts(heartbeat_s=0.1))
    (old,) = _guards(home)
    os.kill(old.pid, signal.SIGKILL)
    deadline = time.monotonic() + scaled(5)
    while not (new := [p for p in _guards(home) if p.pid != old.pid]):
        assert time.monotonic() < deadline, "no new guard"
        time.sleep(0.02)
    record = StateFolder.find(rehearsal=True).read_record()
    assert record is not None
    (agent,) = (child.identity for child in record.children if child.name == "agent")
    os.kill(record.host.pid, signal.SIGKILL)
    deadline = time.monotonic() + scaled(2)
    while agent.is_alive:
        assert time.monotonic() < deadline, f"the new guard {new} has not ended it"
        time.sleep(0.02)


def _state_pid() -> int:
    state = status()
    assert state is not None
    return state.pid


def test_a_terminated_host_ends_in_order_and_leaves_nothing(home: Home) -> None:
    """SIGTERM is an orderly end."""
    home.up("tiny")
    os.kill(_state_pid(), signal.SIGTERM)
    assert not home.wait_no_processes()
    assert not home.secret_files()


def test_the_host_ends_after_its_owner(home: Home) -> None:
    """A host without `--detach` does not outlive the program that owns it."""
    script = (
        "from spicy_avocado_magic.client.up import run_up\n"
        "from spicy_avocado_magic.config.options import build_up_request\n"
        "from spicy_avocado_magic.config.timeouts import Timeouts\n"
        "timeouts = Timeouts(owner_check_every_s=0.1, owner_gone_s=0.3)\n"
        "request = build_up_request({'models': ('tiny',), 'rehearse': True})\n"
        "run_up(request, show=lambda state: None, timeouts=timeouts)\n"
    )
    subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(PACKAGE_PARENT)},
        check=True,
        timeout=scaled(30),
    )
    assert not home.wait_no_processes(), "the host outlived its owner"
