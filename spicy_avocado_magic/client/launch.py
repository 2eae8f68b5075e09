"""Start the daemon, find a running one, and clean up after a dead one."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import IO, Any, Final

from ..config.options import parse_flag
from ..config.settings import Endpoints
from ..config.timeouts import Timeouts
from ..config.tunnel import TUNNEL
from ..errors import DaemonUnreachable, DaemonUnresponsive
from ..protocol.event_log import CRASHED, ENDED, FILE_NAME, read_tail, record_death
from ..protocol.json_codec import from_json, to_json
from ..protocol.launch_request import LaunchReply, LaunchRequest
from ..protocol.state import State
from ..protocol.state_folder import DaemonRecord, StateFolder
from ..system import IMPORT_ROOT
from ..system.file_lock import hold_lock
from ..system.paths import owner_pid
from ..system.processes import Identity, end_group, find_by_argument, identify
from .control_client import ControlClient, require_same_protocol, to_exception

_LOCKED: Final = 75
_SECRET_VARIABLES: Final = (
    TUNNEL.credential.variable,
    TUNNEL.credential.other_variable,
    "AVOCADO_API_KEY",
)
_CLEAN_UP_GRACE_S: Final = 1.0
_LOCK_WAIT_S: Final = 1.0
_RETRY_STATE_S: Final = 1.0
_REAPER_S: Final = 0.5
"""For the reaper to record the crash, which it does after ending the processes."""
_POLL_S: Final = 0.02


def find_daemon(folder: StateFolder) -> ControlClient | None:
    """Return a client of the folder's daemon, or None if none is alive.

    Raises:
        VersionMismatch: If it was started by another version of the package.
    """
    record = read_living(folder)
    if record is None:
        return None
    require_same_protocol(record.protocol)
    return ControlClient(folder.socket)


def read_living(folder: StateFolder) -> DaemonRecord | None:
    """Return the record of the folder's daemon, or None if none is alive.

    If the record is missing or cannot be read, the process that answers on the control
    socket is the daemon.

    Raises:
        DaemonUnresponsive: If its record is missing and it does not answer.
        PlatformUnsupported: If somebody else could have written the record.
    """
    record = folder.read_record()
    if record is not None:
        return record if record.host.is_alive else None
    try:
        state = ControlClient(folder.socket).state()
    except DaemonUnresponsive:
        raise
    except DaemonUnreachable:
        return None
    host = identify(state.pid)
    return DaemonRecord(version=state.version, host=host) if host else None


def state_of(folder: StateFolder) -> State | None:
    """Return the state of the folder's daemon, or None if none is alive.

    A daemon that is starting or ending refuses for a moment: that is retried.

    Raises:
        DaemonUnreachable: If it is alive and does not answer.
        VersionMismatch: If it was started by another version of the package.
    """
    deadline = time.monotonic() + _RETRY_STATE_S
    while (daemon := find_daemon(folder)) is not None:
        try:
            return daemon.state()
        except DaemonUnreachable:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_POLL_S)
    return None


def clean_up_dead_daemon(
    folder: StateFolder, *, keep: Collection[Path] | None = None
) -> tuple[str, ...] | None:
    """End the processes of a daemon that died, and remove its files.

    Nothing is done while a daemon holds the folder's lock.

    Args:
        folder: Of the daemon.
        keep: Files to keep; by default settings and logs, for the next daemon.

    Returns:
        Names of the processes that were ended; None if a daemon is alive or starting.
    """
    ended = []
    # A killed daemon releases its lock only when its last thread has ended.
    with hold_lock(folder.lock, wait_s=_LOCK_WAIT_S) as is_free:
        if not is_free:
            return None
        record = folder.read_record()
        for child in record.children if record else ():
            if child.identity.is_alive:
                ended.append(child.name)
            end_group(child.identity, grace_s=_CLEAN_UP_GRACE_S)
        for orphan in find_by_argument(str(folder.agent_config)):
            end_group(orphan, grace_s=_CLEAN_UP_GRACE_S)
            ended.append("agent")
        if record is not None:
            _record_crash(folder, ended)
        kept = (*folder.restart_files, *folder.logs)
        folder.remove(keep=kept if keep is None else keep)
    return tuple(ended)


def _record_crash(folder: StateFolder, ended: Collection[str]) -> None:
    """Record that a daemon died, unless its reaper does so within a moment."""
    deadline = time.monotonic() + _REAPER_S
    while time.monotonic() < deadline:
        last = read_tail(folder.path, 1)
        if last and last[0].what in (CRASHED, ENDED):
            return
        time.sleep(_POLL_S)
    record_death(folder.path / FILE_NAME, ended, by="a later call")


def launch(
    folder: StateFolder,
    given: Mapping[str, Any],
    *,
    only: bool,
    sources: Endpoints,
    timeouts: Timeouts,
) -> ControlClient | None:
    """Start a daemon and return a client of it; None if another one was faster.

    Secrets go to its standard input, so that they are in no argument and no
    environment.

    Raises:
        AvocadoError: The error for which the daemon cannot start.
        DaemonUnreachable: If it neither starts nor sends an error.
    """
    owner = identify(owner_pid())
    request = LaunchRequest(
        given=encode_options(given),
        only=only,
        endpoints=to_json(sources),
        timeouts=to_json(timeouts),
        owner=owner,
    )
    process = _start(folder)
    try:
        reply = _send(process, request, timeouts.launch_s)
    except BaseException:
        end_group(Identity(pid=process.pid, start=_start_of(process.pid)), grace_s=1.0)
        raise
    finally:
        # Reaps the process when it ends: a zombie would count as alive.
        threading.Thread(target=process.wait, daemon=True, name="avocado-reap").start()
    if reply.ready:
        return ControlClient(folder.socket)
    if reply.failure:
        raise to_exception(reply.failure)
    if process.wait() == _LOCKED:
        return None
    raise DaemonUnreachable(
        "The background process could not be started.",
        f"See its log: {folder.log('host')}",
    )


def encode_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings given as JSON."""
    return {name: to_json(value) for name, value in given.items()}


def _start(folder: StateFolder) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "spicy_avocado_magic.daemon"]
    with folder.log("host").open("ab") as log:
        return subprocess.Popen(
            [*command, str(folder.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=child_environment(),
            cwd="/",
            start_new_session=True,
        )


def child_environment() -> dict[str, str]:
    """Return the kernel's environment without secrets; the package is importable."""
    environment = {k: v for k, v in os.environ.items() if k not in _SECRET_VARIABLES}
    paths = [str(IMPORT_ROOT), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    environment["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    return environment


def _send(
    process: subprocess.Popen[bytes], request: LaunchRequest, wait_s: float
) -> LaunchReply:
    if process.stdin is None or process.stdout is None:
        return LaunchReply()
    with process.stdin as pipe, process.stdout as answers:
        try:
            pipe.write(json.dumps(to_json(request)).encode() + b"\n")
            pipe.flush()
        except BrokenPipeError:
            return LaunchReply()
        line = _read_line(answers, time.monotonic() + wait_s)
    try:
        return from_json(LaunchReply, json.loads(line))
    except (ValueError, TypeError):
        return LaunchReply()


def _read_line(pipe: IO[bytes], deadline: float) -> bytes:
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise DaemonUnreachable(
                    "The background process did not start in time.",
                    "Run %avocado_up again; if that does not help, restart the kernel.",
                )
            chunk = os.read(pipe.fileno(), 65536)
            if not chunk:
                break
            line += chunk
    return line


def _start_of(pid: int) -> str:
    identity = identify(pid)
    return identity.start if identity else ""


REHEARSE_VARIABLE: Final = "AVOCADO_REHEARSE"


def rehearsal_requested() -> bool:
    """Return whether the environment makes every ``up`` a rehearsal.

    Raises:
        UsageError: If the variable is neither true nor false.
    """
    return parse_flag(os.environ.get(REHEARSE_VARIABLE, "0"))


def candidate_state_folders(*, rehearse: bool) -> tuple[StateFolder, ...]:
    """Return the state folders to look at, the real service's first.

    Args:
        rehearse: Whether to look for a rehearsal only.

    Raises:
        PlatformUnsupported: If a folder belongs to somebody else.
    """
    rehearsal = StateFolder.find(rehearsal=True)
    if rehearse or rehearsal_requested():
        return (rehearsal,)
    return (StateFolder.find(rehearsal=False), rehearsal)
