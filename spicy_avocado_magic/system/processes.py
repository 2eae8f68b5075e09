"""Child processes: start in a new session, identify, wait for, end the whole group."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

_EXIT_POLL_S: Final = 0.1
_STAT_STATE: Final = 0
_STAT_START_TICKS: Final = 19


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A process, distinguished from a later one with the same pid by its start time.

    ``start`` is the boot id and start ticks (``/proc/<pid>/stat``, field 22), which
    do not change when the clock is set; on macOS, psutil's creation time.
    """

    pid: int
    start: str

    @property
    def is_alive(self) -> bool:
        """Whether this process still runs; a zombie does not count."""
        return identify(self.pid) == self


def identify(pid: int) -> Identity | None:
    """Return the identity of a running process, or None if it does not run."""
    if sys.platform == "linux":
        start = _linux_start(pid)
    else:
        start = _psutil_start(pid)
    return None if start is None else Identity(pid=pid, start=start)


def _linux_start(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    if fields[_STAT_STATE] in ("Z", "X"):
        return None
    return f"{boot}:{fields[_STAT_START_TICKS]}"


def _psutil_start(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return f"{process.create_time():.2f}"
    except psutil.Error:
        return None


def spawn(
    command: Sequence[str],
    *,
    log: IO[bytes],
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    cwd: str = "/",
) -> subprocess.Popen[bytes]:
    """Start a child in a new session, with its output in a file.

    The session protects it from the notebook's interrupt. A file instead of a pipe
    prevents ``wait`` from hanging on a grandchild (cpython gh-119710).

    Raises:
        OSError: If the program cannot be started.
    """
    return subprocess.Popen(
        list(command),
        stdin=stdin,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=None if env is None else dict(env),
        cwd=cwd,
        start_new_session=True,
    )


async def wait_exit(process: subprocess.Popen[bytes]) -> None:
    """Wait until a child of this process has ended, and reap it.

    Linux signals the end through a descriptor (pidfd_open(2), since 5.3). Elsewhere,
    as on macOS, the child is polled ten times a second.
    """
    import asyncio

    if process.poll() is not None:
        return  # another process may have its pid by now
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as stack:
        try:
            descriptor = os.pidfd_open(process.pid)
        except (AttributeError, OSError):
            ended.set()
        else:
            stack.callback(os.close, descriptor)
            loop.add_reader(descriptor, ended.set)
            stack.callback(loop.remove_reader, descriptor)
        await ended.wait()
        while process.poll() is None:  # noqa: ASYNC110
            await asyncio.sleep(_EXIT_POLL_S)


def signal_group(pid: int, number: int) -> bool:
    """Send a signal to the group that ``pid`` leads; return False if it is gone."""
    if pid <= 1 or pid == os.getpgrp():
        return False
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def end_group(identity: Identity, *, grace_s: float) -> None:
    """End a process group that is not our child: TERM, wait, then KILL. Blocking.

    The group is signalled even if its leader is gone, because its children may still
    run; but not if the pid belongs to another process by now.
    """
    current = identify(identity.pid)
    if current is not None and current != identity:
        return
    deadline = time.monotonic() + grace_s
    if signal_group(identity.pid, signal.SIGTERM):
        while identity.is_alive and time.monotonic() < deadline:
            time.sleep(0.01)
    signal_group(identity.pid, signal.SIGKILL)


def find_by_argument(argument: str) -> list[Identity]:
    """Return this user's processes with this exact command-line argument."""
    import psutil

    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        with contextlib.suppress(psutil.Error):
            if argument in (process.info["cmdline"] or ()):
                identity = identify(process.info["pid"])
                if identity is not None and process.uids().real == os.getuid():
                    found.append(identity)
    return found
