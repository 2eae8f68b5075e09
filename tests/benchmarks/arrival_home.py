"""A machine as a session finds it: empty folders, and no trace of what ran before."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from tests.main_job.home import Home, without_ollama

ROOT: Final = Path(__file__).parents[2]
TOKEN: Final = "rehearsal-token-of-nobody"
_FOREIGN: Final = ("OLLAMA_", "AVOCADO_", "NGROK_")
_LEAVE_S: Final = 5.0


@contextlib.contextmanager
def empty_home() -> Iterator[Home]:
    """Make the folders of a fresh session; end what still runs there, delete them."""
    # Not deeper: a Unix socket's path may have 104 bytes at most.
    home = Home(Path(tempfile.mkdtemp(prefix="avo-", dir="/tmp")))
    for name in ("run", "cache", "home", "prefix"):
        (home.path / name).mkdir(mode=0o700)
    try:
        yield home
    finally:
        end_all(home)
        shutil.rmtree(home.path, ignore_errors=True)


def end_all(home: Home) -> None:
    """End every process of a home: TERM, some seconds, then KILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        running = home.processes()
        for process in running:
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        psutil.wait_procs(running, timeout=_LEAVE_S)


def cpu_s(home: Home) -> float:
    """Return what all that runs in a home has used, and its children that ended.

    User and system seconds; the process that asks is left out.
    """
    total = 0.0
    for process in home.processes():
        with contextlib.suppress(psutil.Error):
            total += process_cpu_s(process)
    return round(total, 2)


def process_cpu_s(process: psutil.Process) -> float:
    """Return user and system seconds of a process and its children that ended."""
    return float(sum(process.cpu_times()[:4]))


def variables(home: Home) -> dict[str, str]:
    """Return the environment of a program in this home."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
    return kept | {
        "HOME": str(home.path / "home"),
        "XDG_RUNTIME_DIR": str(home.path / "run"),
        "XDG_CACHE_HOME": str(home.path / "cache"),
        "IPYTHONDIR": str(home.path / "home"),
        "NGROK_AUTHTOKEN": TOKEN,
        "PATH": without_ollama(os.environ["PATH"]),
        "PYTHONPATH": str(ROOT),
    }
