"""What runners do, seen from outside."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from spicy_avocado_magic.engine.ollama_process import runner_activity
from tests.machine_speed import scaled

SERVER = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "print(1, flush=True)\\nwhile 1: pass"])
child.wait()
"""


@pytest.fixture
def server() -> Iterator[psutil.Process]:
    """Give a process with one child that computes for ever."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    found = psutil.Process(process.pid)
    (child,) = found.children()
    yield found
    for one in (child, found):
        one.kill()
    process.wait()
    process.stdout.close()


def test_a_runner_that_computes_is_told_from_one_that_is_stopped(
    server: psutil.Process,
) -> None:
    """The same twice is a runner that did nothing in between."""
    before, deadline = runner_activity(server.pid), time.monotonic() + scaled(20)
    while runner_activity(server.pid) == before:
        assert time.monotonic() < deadline, "a runner at work seems idle"
    (child,) = server.children()
    child.suspend()
    while child.status() != psutil.STATUS_STOPPED:
        assert time.monotonic() < deadline, "it was not stopped"
    stopped = runner_activity(server.pid)
    assert stopped, "the runner is not seen"
    assert runner_activity(server.pid) == stopped, "a stopped runner seems at work"


def test_an_engine_without_runners_tells_nothing(server: psutil.Process) -> None:
    """Nor does one that is gone: there is nobody to judge."""
    (child,) = server.children()
    assert runner_activity(child.pid) == (), "a process without children has runners"
    assert runner_activity(2**22 + 1) == (), "a process that is not there has runners"


def test_a_runner_that_waits_for_a_disk_is_not_judged(
    server: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model on a mounted drive may come slowly, page by page."""
    waits = psutil.STATUS_DISK_SLEEP
    monkeypatch.setattr(psutil.Process, "status", lambda _: waits)
    assert runner_activity(server.pid) == (), (
        "it would be taken for one that does nothing"
    )
