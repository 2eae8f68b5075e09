"""The guard as a real process: what it ends when the host dies, and what it spares."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from spicy_avocado_magic.daemon import reaper as guard_module
from spicy_avocado_magic.daemon.reaper import Reaper, main
from spicy_avocado_magic.protocol.event_log import CRASHED, read_tail
from spicy_avocado_magic.system.processes import Identity, identify
from tests.machine_speed import scaled

Sleeper = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def sleeper() -> Iterator[Sleeper]:
    """Start processes that lead a group, and sweep them up afterwards."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> subprocess.Popen[bytes]:
        script = "import signal; signal.pause()"
        command = [sys.executable, "-c", script, *arguments]
        started.append(subprocess.Popen(command, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


@pytest.fixture
def guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reaper]:
    """A running guard, stood down afterwards; it needs no installed package."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    running = Reaper(tmp_path / "ngrok.yml", tmp_path / "guard.log")
    running.start()
    yield running
    running.stop()


def identity_of(process: subprocess.Popen[bytes]) -> Identity:
    """Return the identity of a process that is known to run."""
    found = identify(process.pid)
    assert found is not None
    return found


def let_host_die(guard: Reaper) -> subprocess.Popen[bytes]:
    """Close the pipe without a word, as the end of the host does."""
    process = guard._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()
    return process


@pytest.mark.alone
def test_all_groups_end_within_a_second_of_the_host(
    guard: Reaper, sleeper: Sleeper
) -> None:
    """However the daemon dies, no process that it started survives."""
    children = [sleeper() for _ in range(3)]
    for number, child in enumerate(children):
        guard.add(f"part{number}", identity_of(child))
    began = time.monotonic()
    let_host_die(guard)
    for child in children:
        assert child.wait(timeout=scaled(5)) == -signal.SIGKILL
    assert time.monotonic() - began < scaled(1.0)


def test_an_agent_not_yet_listed_is_found_by_its_config(
    guard: Reaper, sleeper: Sleeper, tmp_path: Path
) -> None:
    """A host that dies while it starts its agent leaves no tunnel behind."""
    orphan = sleeper("--config", str(tmp_path / "ngrok.yml"))
    unrelated = sleeper("--config", str(tmp_path / "other.yml"))
    let_host_die(guard).wait(timeout=scaled(5))
    assert orphan.wait(timeout=scaled(5)) == -signal.SIGKILL
    assert unrelated.poll() is None


def test_a_guard_that_stands_down_ends_nothing(guard: Reaper, sleeper: Sleeper) -> None:
    """A host that ends in order has ended its parts itself."""
    child = sleeper()
    guard.add("engine", identity_of(child))
    guard.stop()
    assert child.poll() is None
    assert guard.identity is None


def test_a_group_that_is_done_is_not_ended(guard: Reaper, sleeper: Sleeper) -> None:
    """What the host took off the list is none of the guard's business."""
    child = sleeper()
    guard.add("engine", identity_of(child))
    guard.done("engine")
    let_host_die(guard).wait(timeout=scaled(5))
    assert child.poll() is None


def test_a_reused_pid_is_spared(guard: Reaper, sleeper: Sleeper) -> None:
    """A later process that has got the same number is somebody else's."""
    child = sleeper()
    guard.add("engine", replace(identity_of(child), start="another boot:1"))
    let_host_die(guard).wait(timeout=scaled(5))
    assert child.poll() is None


def test_the_guard_outlives_the_signals_of_a_shutdown(
    guard: Reaper, sleeper: Sleeper
) -> None:
    """A terminal's Ctrl-C or a polite kill does not take the guard away first."""
    child = sleeper()
    guard.add("engine", identity_of(child))
    process = guard._process
    assert process is not None
    wait_until_it_ignores(process.pid, signal.SIGTERM)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
    let_host_die(guard)
    assert child.wait(timeout=scaled(5)) == -signal.SIGKILL


def wait_until_it_ignores(pid: int, number: int) -> None:
    """Return once a process ignores this signal; skip without /proc."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("needs /proc to see which signals a process ignores")
    for _ in range(500):
        ignored = status.read_text().partition("SigIgn:")[2].split()[0]
        if int(ignored, 16) >> (number - 1) & 1:
            return
        time.sleep(0.01)
    pytest.fail("the guard never ignored the signal")


def test_the_agent_is_ended_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other process can take over the public URL while the rest ends."""
    ended: list[int] = []
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(guard_module, "_kill", lambda who: ended.append(who.pid))
    main(["add\tengine\t11\ta\n", "add\tagent\t12\tb\n", "add\ta part\t13\tc\n"])
    assert ended == [12, 11, 13]


async def test_a_dead_reaper_is_replaced_with_all_its_entries(
    guard: Reaper, sleeper: Sleeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killing the guard does not lift its protection."""
    child = sleeper()
    guard.add("engine", identity_of(child))
    first = guard._process
    assert first is not None
    first.kill()
    first.wait()
    replaced = asyncio.Event()
    start = guard.start

    def start_and_set() -> None:
        start()
        replaced.set()

    monkeypatch.setattr(guard, "start", start_and_set)
    keeping = asyncio.create_task(guard.keep(0.01))
    async with asyncio.timeout(scaled(5)):
        await replaced.wait()
    keeping.cancel()
    let_host_die(guard)
    assert await asyncio.to_thread(child.wait, 5) == -signal.SIGKILL
    assert first.stdin is not None
    assert first.stdin.closed, "the dead guard's pipe stays open"


def test_updating_and_stopping_a_dead_guard_is_harmless(guard: Reaper) -> None:
    """The host does not fall over a guard that somebody killed."""
    assert guard._process is not None
    guard._process.kill()
    guard._process.wait()
    guard.add("engine", Identity(pid=os.getpid(), start="none"))
    guard.done("engine")
    guard.stop()
    assert guard.identity is None


def test_the_end_of_the_host_is_written_down(
    guard: Reaper, sleeper: Sleeper, tmp_path: Path
) -> None:
    """The event log has the time and the processes that were ended."""
    guard.add("engine", identity_of(sleeper()))
    process = let_host_die(guard)
    assert process.wait(timeout=scaled(5)) == 0
    (entry,) = read_tail(tmp_path, 5)
    assert entry.what == CRASHED
    assert entry.facts == {"by": "its guard", "ended": ["engine"]}


def test_a_guard_that_stands_down_writes_nothing(guard: Reaper, tmp_path: Path) -> None:
    """An orderly end is no death."""
    guard.stop()
    assert not read_tail(tmp_path, 5)
