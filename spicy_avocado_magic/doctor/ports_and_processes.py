"""Checks of ports in use, and of processes that a dead daemon left running."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Final

import psutil

from .. import daemon
from ..config.tunnel import TUNNEL
from ..daemon import reaper
from ..engine.ollama_process import DEFAULT_PORT
from ..errors import AvocadoError
from ..protocol.finding import Finding, broken, ok, unknown, warning
from ..protocol.state_folder import DaemonRecord, StateFolder
from ..system.platforms import Platform
from ..system.processes import find_by_argument
from ..system.redaction import strip_control_chars
from .context import DoctorContext

AGENT_PORT: Final = TUNNEL.local_port


def _is_part_of(record: DaemonRecord, pid: int) -> bool:
    """Return whether a process is the recorded daemon or in one of its groups."""
    groups = [c.identity.pid for c in record.children if c.identity.is_alive]
    return pid == record.host.pid or _group(pid) in groups


def _group(pid: int) -> int:
    """Return the group of a process; 0 if it is gone or must not be read."""
    try:
        return os.getpgid(pid) if pid else 0
    except OSError:
        return 0


def records() -> Iterator[tuple[StateFolder, DaemonRecord]]:
    """Yield the records of the service and of the rehearsal."""
    for rehearsal in (False, True):
        # Its own check reports a folder that cannot be used.
        with contextlib.suppress(AvocadoError, OSError):
            folder = StateFolder.find(rehearsal=rehearsal)
            if (record := folder.read_record()) is not None:
                yield folder, record


def listeners() -> dict[int, int]:
    """Return the pid that listens on each port; 0 if it must not be read.

    Raises:
        psutil.AccessDenied: On macOS, unless we are root.
    """
    return {
        connection.laddr[1]: connection.pid or 0
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr
    }


def check_ports(context: DoctorContext) -> Finding:
    """Check that no other program uses the ports of engine, agent and gateway."""
    try:
        listening = listeners()
    except psutil.AccessDenied:
        return unknown(
            "This system does not show which program uses a port.",
            "Nothing to do as long as %avocado_up works.",
        )
    recorded = [record for _, record in records()]
    gateway_port = context.settings.port
    taken = {
        port: listening[port]
        for port in (gateway_port, DEFAULT_PORT, AGENT_PORT)
        if port in listening
        and not any(_is_part_of(r, listening[port]) for r in recorded)
    }
    message = "; ".join(
        f"Port {port} is used by {describe_process(pid)}"
        f"{_reserved(port, context.platform)}"
        for port, pid in taken.items()
    )
    if gateway_port in taken:
        return broken(f"{message}.", "Choose another --port, or leave --port out.")
    if taken:
        effect_of = {
            DEFAULT_PORT: "another Ollama shares memory and GPU with it",
            AGENT_PORT: f"another {TUNNEL.name} agent counts towards your limit",
        }
        effects = ", and ".join(effect_of[port] for port in taken)
        return warning(
            f"{message}. The service uses another port instead, but {effects}.",
            "End that program if you do not need it; Spicy Avocado only ends its own.",
        )
    own = [p for p in (DEFAULT_PORT, AGENT_PORT) if p in listening]
    used = f" Used by this service: {', '.join(map(str, own))}." if own else ""
    usual = f"{DEFAULT_PORT} (engine) and {AGENT_PORT} (agent)"
    return ok(f"No other program uses the ports {usual}.{used}")


def _reserved(port: int, platform: Platform) -> str:
    return f", as always on {platform.name}" if port in platform.ports else ""


def describe_process(pid: int) -> str:
    """Return a process's name and pid; its arguments may hold secrets."""
    with contextlib.suppress(psutil.Error):
        return f"{strip_control_chars(psutil.Process(pid).name())} (pid {pid})"
    return f"pid {pid}" if pid else "a program of another user"


def check_leftovers(context: DoctorContext) -> Finding:
    """Report records of dead daemons, and processes that no record names."""
    found, running = [], set()
    for folder, record in records():
        alive = {c.name: c.identity.pid for c in record.children if c.identity.is_alive}
        if record.host.is_alive:
            running.add(record.host.pid)
        else:
            pid = record.host.pid
            found.append(f"the record of a background process that died (pid {pid})")
            found += [f"its {name} (pid {pid})" for name, pid in alive.items()]
        found += [
            f"an agent without a running service (pid {agent.pid})"
            for agent in find_by_argument(str(folder.agent_config))
            if _group(agent.pid) not in alive.values()
        ]
    unrecorded = list(_unrecorded(running, context.timeouts.launch_s))
    found += [f"a {name} without a record (pid {pid})" for name, pid in unrecorded]
    if not found:
        return ok("No process or record of an earlier service is left.")
    remedy = "%avocado_down ends and removes them; %avocado_up does so as well."
    if unrecorded:
        pids = " ".join(str(pid) for _, pid in unrecorded)
        remedy = f"Run %avocado_down; if they are still there, end them: !kill {pids}"
    return warning(f"Left over: {', '.join(found)}.", remedy)


def _unrecorded(running: set[int], launch_s: float) -> Iterator[tuple[str, int]]:
    """Yield our user's daemons and reapers in these folders that no record names."""
    for process in find_by_argument(daemon.__name__):
        if process.pid not in running and _is_left_over(process.pid, launch_s):
            yield "background process", process.pid
    for process in find_by_argument(reaper.__name__):
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(process.pid).ppid()
            if parent not in running and _is_left_over(process.pid, launch_s):
                yield "reaper", process.pid


def _is_left_over(pid: int, launch_s: float) -> bool:
    """Return whether a process uses this state folder and is not just starting.

    While it is being started it has no record yet.
    """
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        runtime = process.environ().get("XDG_RUNTIME_DIR", "")
        is_here = runtime == os.environ.get("XDG_RUNTIME_DIR", "")
        return is_here and time.time() - process.create_time() > launch_s
    return False
