"""End a host and prove that nothing of it is left."""

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
from ..protocol.state_folder import DaemonRecord, StateFolder
from ..system.file_lock import hold_lock
from ..system.paths import ENGINES_LOCK, engines_folder
from ..system.processes import Identity, end_group, find_by_argument
from .control_client import ControlClient
from .launch import clean_up_dead_daemon, read_living

_POLL_S: Final = 0.02
_KILL_GRACE_S: Final = 1.0
_ANSWER_S: Final = 2.0
"""A host that takes longer to answer is not waited for, but killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownResult:
    """What ``down`` ended.

    Attributes:
        was_running: Whether a host was alive.
        processes: Names of the process groups that were ended.
        seconds: How long it took.
        rehearsal: Whether it was one.
        purged: What was removed of installed releases; None if none was to be.
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
    """End the folder's host, whatever state it is in; a no-op where none is.

    A host that does not end by itself in time is killed, then swept up after.

    Raises:
        DaemonUnreachable: If something is left that could not be ended.
    """
    timeouts = timeouts or Timeouts()
    began = time.monotonic()
    kept: tuple[Path, ...] = folder.restart_files if keep_wanted else ()
    kept += folder.logs if keep_logs else ()
    record = read_living(folder)
    is_rehearsal = folder.path.name == "rehearsal"
    if record is None:
        swept = clean_up_dead_daemon(folder, keep=kept) or ()
        return DownResult(was_running=False, processes=swept, rehearsal=is_rehearsal)
    local_url, is_hung = _tell(folder, keep_wanted=keep_wanted)
    _wait_gone(record.host, 0.0 if is_hung else timeouts.down_s)
    clean_up_dead_daemon(folder, keep=kept)
    _prove_gone(folder, record, local_url, keep_wanted=keep_wanted)
    return DownResult(
        was_running=True,
        processes=("host", *(child.name for child in record.children)),
        seconds=time.monotonic() - began,
        rehearsal=is_rehearsal,
    )


def _tell(folder: StateFolder, *, keep_wanted: bool) -> tuple[str, bool]:
    """Tell the host to end; return where its gateway was, and whether it is hung."""
    connection, local_url = ControlClient(folder.socket, _ANSWER_S), ""
    try:
        # A host of another version, or one that is ending, is ended all the same.
        with contextlib.suppress(VersionMismatch):
            local_url = connection.state().local_url
        connection.post("/down", keep_wanted=keep_wanted)
    except DaemonUnresponsive:
        return local_url, True
    except AvocadoError:
        return local_url, False
    return local_url, False


def _wait_gone(host: Identity, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while host.is_alive and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    if host.is_alive:
        end_group(host, grace_s=_KILL_GRACE_S)


def _prove_gone(
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
            f"Still left after the end: {', '.join(left)}.",
            "Run %avocado_down once more; if it stays so, restart the machine.",
        )


def _is_listening(url: str) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", urlsplit(url).port or 0)) == 0


_LOCK_WAIT_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeResult:
    """What ``purge`` removed.

    Attributes:
        releases: Names such as ``0.34.1-cuda_v12``.
        freed_bytes: With what was half fetched.
    """

    releases: tuple[str, ...] = ()
    freed_bytes: int = 0


def purge(*, rehearsal: bool) -> PurgeResult:
    """Remove all releases that this program installed for this user.

    Models are elsewhere and stay, and so does an ``ollama`` that is not ours.

    Args:
        rehearsal: Whether those of rehearsals are meant; never both.

    Raises:
        UserActionRequired: If another notebook is installing one just now.
    """
    folder = engines_folder(rehearsal=rehearsal)
    if not folder.is_dir():
        return PurgeResult()
    lock = folder / ENGINES_LOCK
    with hold_lock(lock, wait_s=_LOCK_WAIT_S) as is_free:
        if not is_free:
            raise UserActionRequired(
                "Another notebook is just installing Ollama.",
                "Wait for it, or end it, then run %avocado_down --purge again.",
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
    """Return what a file or a folder takes; hard links count once, links not."""
    files = [root] if not root.is_dir() else []
    for folder, _, names in os.walk(root):
        files += [Path(folder, name) for name in names]
    told = [path.lstat() for path in files]
    sizes = {(one.st_dev, one.st_ino): one.st_size for one in told}
    return sum(sizes.values())
