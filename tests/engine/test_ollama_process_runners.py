"""Activity of the engine's runners."""

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
    """Return a process with one child that computes until killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    found = psutil.Process(process.pid)
    (child,) = found.children()
    yield found
    for each in (child, found):
        each.kill()
    process.wait()
    process.stdout.close()


def test_a_runner_that_computes_differs_from_one_that_is_stopped(
    server: psutil.Process,
) -> None:
    """Two equal results mean that the runner did nothing."""
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


def test_an_engine_without_runners_has_no_activity(server: psutil.Process) -> None:
    """Nor has a process that has exited."""
    (child,) = server.children()
    assert runner_activity(child.pid) == (), "a process without children has runners"
    assert runner_activity(2**22 + 1) == (), "a process that is not there has runners"


def test_a_runner_that_waits_for_a_disk_has_no_activity_to_compare(
    server: psutil.Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model on a mounted drive may be read slowly, page by page."""
    waits = psutil.STATUS_DISK_SLEEP
    monkeypatch.setattr(psutil.Process, "status", lambda _: waits)
    assert runner_activity(server.pid) == (), "it would be taken for an idle runner"
