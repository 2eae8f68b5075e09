"""Child processes: new sessions, identities, exits and ending of whole groups."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spicy_avocado_magic.system.processes import (
    Identity,
    end_group,
    find_by_argument,
    identify,
    signal_group,
    spawn,
    wait_exit,
)
from tests.machine_speed import scaled

Start = Callable[..., subprocess.Popen[bytes]]
PAUSE = "import signal; print('ready', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(15, signal.SIG_IGN); " + PAUSE
PARENT = (
    "import os, signal\n"
    "child = os.fork()\n"
    "if child: print('ready', child, flush=True)\n"
    "signal.pause()"
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the children write."""
    return tmp_path / "child.log"


@pytest.fixture
def start(log: Path) -> Iterator[Start]:
    """Start scripts with ``spawn``; sweep up their groups afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(script: str, *arguments: str) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            command = [sys.executable, "-u", "-c", script, *arguments]
            started.append(spawn(command, log=output))
        wait_for(lambda: b"ready" in log.read_bytes() and b"\n" in log.read_bytes())
        return started[-1]

    yield begin
    for process in started:
        signal_group(process.pid, signal.SIGKILL)
        process.wait()


def open_descriptors() -> list[str]:
    """Return our own, but for the one that it takes to look."""
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())[:-1]


def wait_for(is_so: Callable[[], bool]) -> None:
    """Return once it is so; fails after five seconds."""
    deadline = time.monotonic() + scaled(5)
    while not is_so():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.005)


def known(pid: int) -> Identity:
    """Return the identity of a process that must be running."""
    identity = identify(pid)
    assert identity is not None
    return identity


def test_a_child_leads_a_session_and_writes_to_its_log(start: Start, log: Path) -> None:
    """The notebook's interrupt does not reach it."""
    child = start(PAUSE)
    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid
    assert log.read_bytes() == b"ready\n"


def test_a_process_is_known_as_long_as_it_runs(start: Start) -> None:
    """A zombie does not run, and a gone process has no identity."""
    child = start(PAUSE)
    identity = known(child.pid)
    assert identity.is_alive
    assert identity == identify(child.pid)
    child.kill()
    wait_for(lambda: not identity.is_alive)
    assert child.returncode is None, "not reaped yet, so this was a zombie"
    child.wait()
    assert identify(child.pid) is None


def test_a_later_process_with_the_same_pid_is_another() -> None:
    """A pid alone is no identity."""
    me = known(os.getpid())
    assert not replace(me, start="earlier:1").is_alive


def test_a_process_with_an_odd_name_is_identified(tmp_path: Path, start: Start) -> None:
    """The name in the process table may hold brackets and blanks."""
    if sys.platform != "linux":
        pytest.skip("only Linux lets a process name itself through /proc")
    child = start("open('/proc/self/comm', 'w').write('a) Z 1'); " + PAUSE)
    assert known(child.pid).is_alive


def test_a_group_ends_on_term(start: Start) -> None:
    """A child that handles TERM is not killed."""
    child = start(PAUSE)
    began = time.monotonic()
    end_group(known(child.pid), grace_s=5)
    assert child.wait() == -signal.SIGTERM
    assert time.monotonic() - began < scaled(1)


def test_a_child_that_ignores_term_is_killed_after_the_grace(start: Start) -> None:
    """Nothing outlives its bound."""
    child = start(STUBBORN)
    end_group(known(child.pid), grace_s=0.1)
    assert child.wait() == -signal.SIGKILL


def test_children_whose_leader_has_gone_are_swept(start: Start, log: Path) -> None:
    """A model runner does not keep the GPU's memory."""
    leader = start(PARENT)
    identity = known(leader.pid)
    orphan = known(int(log.read_bytes().split()[1]))
    leader.kill()
    leader.wait()
    assert orphan.is_alive
    end_group(identity, grace_s=0.1)
    wait_for(lambda: not orphan.is_alive)


def test_a_group_whose_pid_was_reused_is_spared(start: Start) -> None:
    """Somebody else's process is not ours to end."""
    child = start(PAUSE)
    end_group(replace(known(child.pid), start="earlier:1"), grace_s=0.1)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(timeout=0.2)


def test_our_own_group_and_init_are_never_signalled() -> None:
    """A damaged record cannot make the host end the notebook."""
    for pid in (0, 1, -1, os.getpgrp()):
        assert not signal_group(pid, signal.SIGTERM)


def test_a_process_is_found_by_a_whole_argument(start: Start, tmp_path: Path) -> None:
    """Part of an argument is not enough."""
    config = str(tmp_path / "ngrok.yml")
    child = start(PAUSE, "--config", config)
    start(PAUSE, "--config", config + ".old")
    assert find_by_argument(config) == [known(child.pid)]


def test_a_program_that_is_missing_is_an_oserror(log: Path) -> None:
    """The caller explains it to the user."""
    with log.open("wb") as output, pytest.raises(OSError, match="No such file"):
        spawn(["no-such-program-anywhere"], log=output)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no pidfd_open here")
async def test_an_exit_is_waited_for_without_a_timer(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host would wake ten times a second for nothing."""
    child = start(PAUSE)
    polls: list[int] = []
    monkeypatch.setattr(child, "poll", lambda: polls.append(1))
    waiting = asyncio.create_task(wait_exit(child))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    assert len(polls) == 1, "the child was polled before it ended"
    monkeypatch.undo()
    child.kill()
    await asyncio.wait_for(waiting, scaled(5))
    assert child.returncode == -signal.SIGKILL, "it was not reaped"


async def test_an_exit_is_polled_without_pidfd_open(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS and on kernels before 5.3."""
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    child = start(PAUSE)
    waiting = asyncio.create_task(wait_exit(child))
    await asyncio.sleep(0)
    assert not waiting.done()
    child.kill()
    await asyncio.wait_for(waiting, scaled(5))
    assert child.returncode == -signal.SIGKILL, "it was not reaped"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc here")
async def test_a_wait_for_an_exit_that_is_cancelled_leaves_no_descriptor(
    start: Start,
) -> None:
    """Each life of the engine is waited for several times."""
    child = start(PAUSE)
    before = open_descriptors()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait_exit(child), 0.01)
    assert open_descriptors() == before
    waiting = asyncio.create_task(wait_exit(child))
    await asyncio.sleep(0)
    child.kill()
    await asyncio.wait_for(waiting, scaled(5))


async def test_a_child_that_was_reaped_is_not_waited_for(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pid may be another program's, which would be waited for instead."""
    child = start(PAUSE)
    child.kill()
    child.wait()
    monkeypatch.setattr(child, "pid", os.getpid())
    await asyncio.wait_for(wait_exit(child), scaled(1))
