"""Stop the daemon, verify that nothing is left, and remove installed releases."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from ..config.timeouts import Timeouts
from ..errors import (
    AvocadoError,
    DaemonUnreachable,
    DaemonUnresponsive,
    UserActionRequired,
    VersionMismatch,
)
from ..protocol.control_messages import Acknowledged, DownMessage
from ..protocol.state_folder import DaemonRecord, StateFolder
from ..system.file_lock import hold_lock
from ..system.paths import ENGINES_LOCK, engines_folder
from ..system.processes import Identity, end_group, find_by_argument
from .control_client import ControlClient
from .launch import clean_up_dead_daemon, read_living

_POLL_S: Final = 0.02
_KILL_GRACE_S: Final = 1.0
_ANSWER_S: Final = 2.0
"""A daemon that takes longer to answer is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownResult:
    """Result of ``down``; false if there was nothing to stop or remove.

    Attributes:
        was_running: Whether a daemon was alive.
        processes: Names of the process groups that were ended.
        seconds: How long it took.
        rehearsal: Whether it was a rehearsal.
        purged: The installed releases that were removed; None without ``purge``.
    """

    was_running: bool
    processes: tuple[str, ...] = ()
    seconds: float = 0.0
    rehearsal: bool = False
    purged: PurgeResult | None = None

    def __bool__(self) -> bool:
        return self.was_running or bool(self.processes) or self.purged is not None


def stop_daemon(
    folder: StateFolder,
    *,
    timeouts: Timeouts | None = None,
    keep_wanted: bool = False,
    keep_logs: bool = False,
) -> DownResult:
    """Stop the folder's daemon, whatever its state; a no-op if there is none.

    A daemon that does not end in time is killed, and then cleaned up after.

    Args:
        folder: Of the daemon.
        timeouts: By default the usual ones.
        keep_wanted: Whether to keep the files from which the next one restarts.
        keep_logs: Whether to keep the logs.

    Raises:
        DaemonUnreachable: If a process, port or secret is left.
    """
    timeouts = timeouts or Timeouts()
    began = time.monotonic()
    kept: tuple[Path, ...] = folder.restart_files if keep_wanted else ()
    kept += folder.logs if keep_logs else ()
    record = read_living(folder)
    is_rehearsal = folder.path.name == "rehearsal"
    if record is None:
        ended = clean_up_dead_daemon(folder, keep=kept) or ()
        return DownResult(was_running=False, processes=ended, rehearsal=is_rehearsal)
    local_url, is_hung = _request_stop(folder, keep_wanted=keep_wanted)
    _wait_gone(record.host, 0.0 if is_hung else timeouts.down_s)
    clean_up_dead_daemon(folder, keep=kept)
    _verify_gone(folder, record, local_url, keep_wanted=keep_wanted)
    return DownResult(
        was_running=True,
        processes=("host", *(child.name for child in record.children)),
        seconds=time.monotonic() - began,
        rehearsal=is_rehearsal,
    )


def _request_stop(folder: StateFolder, *, keep_wanted: bool) -> tuple[str, bool]:
    """Ask the daemon to end; return its gateway's URL, and whether it is hung."""
    daemon, local_url = ControlClient(folder.socket, _ANSWER_S), ""
    try:
        # A daemon of another version, or one that is ending, is stopped as well.
        with contextlib.suppress(VersionMismatch):
            local_url = daemon.state().local_url
        daemon.post("/down", DownMessage(keep_wanted=keep_wanted), Acknowledged)
    except AvocadoError as error:
        return local_url, isinstance(error, DaemonUnresponsive)
    return local_url, False


def _wait_gone(daemon: Identity, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while daemon.is_alive and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    if daemon.is_alive:
        end_group(daemon, grace_s=_KILL_GRACE_S)


def _verify_gone(
    folder: StateFolder, record: DaemonRecord, local_url: str, *, keep_wanted: bool
) -> None:
    left = [c.name for c in record.children if c.identity.is_alive]
    left += ["agent" for _ in find_by_argument(str(folder.agent_config))]
    if record.host.is_alive:
        left.append("host")
    if local_url and _is_listening(local_url):
        left.append(f"port {urlsplit(local_url).port}")
    if not keep_wanted:
        left += [path.name for path in folder.secrets if path.exists()]
    if left:
        raise DaemonUnreachable(
            f"These are left after the stop: {', '.join(left)}.",
            "Run %avocado_down once more; if that does not help, restart the machine.",
        )


def _is_listening(url: str) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", urlsplit(url).port or 0)) == 0


_LOCK_WAIT_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeResult:
    """Result of ``purge``.

    Attributes:
        releases: Names such as ``0.34.1-cuda_v12``.
        freed_bytes: Partial downloads included.
    """

    releases: tuple[str, ...] = ()
    freed_bytes: int = 0


def purge(*, rehearsal: bool) -> PurgeResult:
    """Remove all releases of Ollama that this package installed for this user.

    Models and any other ``ollama`` stay.

    Args:
        rehearsal: Whether to remove those of rehearsals instead of the real ones.

    Raises:
        UserActionRequired: If another notebook is installing a release.
    """
    folder = engines_folder(rehearsal=rehearsal)
    if not folder.is_dir():
        return PurgeResult()
    lock = folder / ENGINES_LOCK
    with hold_lock(lock, wait_s=_LOCK_WAIT_S) as is_free:
        if not is_free:
            raise UserActionRequired(
                "Another notebook is installing Ollama at this moment.",
                "Wait for it, or stop it, then run %avocado_down --purge again.",
            )
        found = [path for path in folder.iterdir() if path != lock]
        freed = sum(_size_bytes(path) for path in found)
        releases = [p.name for p in found if p.is_dir() and p.name[0] != "."]
        for path in found:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        lock.unlink()
        with contextlib.suppress(OSError):  # a link to another disk stays
            folder.rmdir()
    return PurgeResult(releases=tuple(sorted(releases)), freed_bytes=freed)


def _size_bytes(root: Path) -> int:
    """Return the size of a file or folder; hard links count once."""
    files = [root] if not root.is_dir() else []
    for folder, _, names in os.walk(root):
        files += [Path(folder, name) for name in names]
    stats = [path.lstat() for path in files]
    sizes = {(stat.st_dev, stat.st_ino): stat.st_size for stat in stats}
    return sum(sizes.values())
