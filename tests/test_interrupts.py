"""Tests of children that can be interrupted, however pytest itself was started."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path

from .machine_speed import scaled

ROOT = Path(__file__).parents[1]
ONE_TEST = f"{Path(__file__).name}::test_a_child_ends_on_an_interrupt"


def test_a_child_ends_on_an_interrupt() -> None:
    """The child takes its own signal, as SIGINT's default is what it inherits."""
    child = subprocess.run(
        [sys.executable, "-c", "import os; os.kill(os.getpid(), 2); print('runs on')"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == -signal.SIGINT, "the child ignores SIGINT"
    assert "runs on" not in child.stdout


def test_a_background_job_runs_tests_whose_children_can_be_interrupted() -> None:
    """``trap '' INT`` is what a shell does to a job that it runs with ``&``."""
    pytest_run = [sys.executable, "-m", "pytest", "-q", "-n1", f"tests/{ONE_TEST}"]
    run = subprocess.run(
        ["/bin/sh", "-c", f"trap '' INT; exec {shlex.join(pytest_run)}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )
    assert run.returncode == 0, f"interrupts are ignored: {run.stdout[-2000:]}"
