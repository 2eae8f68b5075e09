"""Ports, and processes of ours: who holds them, and what a dead host has left."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import psutil

from .. import daemon
from ..daemon import reaper
from ..engine.ollama_process import DEFAULT_PORT
from ..errors import AvocadoError
from ..protocol.finding import Finding, broken, ok, unknown, warning
from ..protocol.state_folder import StateFolder
from ..system.platforms import Platform
from ..system.processes import Identity, find_by_argument
from ..system.redaction import strip_control_chars
from .context import DoctorContext

AGENT_PORT: Final = 4040


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedProcesses:
    """The process groups on record, and whether the host that wrote it lives."""

    leader: Identity
    children: dict[str, Identity]

    def name_of(self, pid: int) -> str:
        """Return which of ours a process belongs to; empty if to none."""
        if pid == self.leader.pid:
            return "host"
        group = _group(pid)
        for name, identity in self.children.items():
            if group == identity.pid and identity.is_alive:
                return name
        return ""


def _group(pid: int) -> int:
    """Return the group of a process; 0 if it is gone or may not be known."""
    try:
        return os.getpgid(pid) if pid else 0
    except OSError:
        return 0


def records() -> Iterator[tuple[StateFolder, RecordedProcesses]]:
    """Yield what is on record, of a real service and of a rehearsal."""
    for rehearsal in (False, True):
        # A folder that cannot be used is told by its own check.
        with contextlib.suppress(AvocadoError, OSError):
            folder = StateFolder.find(rehearsal=rehearsal)
            record = folder.read_record()
            if record is not None:
                children = {child.name: child.identity for child in record.children}
                yield folder, RecordedProcesses(leader=record.host, children=children)


def listeners() -> dict[int, int]:
    """Return the pid that listens on each port; 0 where that may not be known.

    Raises:
        psutil.AccessDenied: On macOS, where only root is told.
    """
    return {
        connection.laddr[1]: connection.pid or 0
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr
    }


def check_ports(case: DoctorContext) -> Finding:
    """Tell who holds the usual ports of engine and agent, and the gateway's."""
    try:
        held = listeners()
    except psutil.AccessDenied:
        what = "This system does not tell who listens where."
        return unknown("ports", what, "Nothing, as long as %avocado_up works.")
    ours = [one for _, one in records()]
    taken = {
        port: holder
        for port in (case.settings.port, DEFAULT_PORT, AGENT_PORT)
        if port in held and not any(one.name_of(held[port]) for one in ours)
        for holder in [describe_process(held[port])]
    }
    said = "; ".join(
        f"{port} is held by {who}{_reserved(port, case.platform)}"
        for port, who in taken.items()
    )
    if case.settings.port in taken:
        return broken("ports", f"{said}.", "Take another --port, or none.")
    if taken:
        return warning(
            "ports",
            f"{said}. Others are used instead, but an Ollama there shares memory and "
            "GPU, and an ngrok there counts as one of your agents.",
            "End it if you do not need it; Spicy Avocado never ends what is not its.",
        )
    mine = {port for port in (DEFAULT_PORT, AGENT_PORT) if port in held}
    used = f", {', '.join(map(str, sorted(mine)))} by this service" if mine else ""
    return ok("ports", f"{DEFAULT_PORT} and {AGENT_PORT} are not in other hands{used}.")


def _reserved(port: int, platform: Platform) -> str:
    return f", as always on {platform.name}" if port in platform.ports else ""


def describe_process(pid: int) -> str:
    """Return a process in words: its name and pid, nothing of its arguments."""
    with contextlib.suppress(psutil.Error):
        return f"{strip_control_chars(psutil.Process(pid).name())} (pid {pid})"
    return f"pid {pid}" if pid else "a program of somebody else"


def check_leftovers(case: DoctorContext) -> Finding:
    """Tell what a host that died has left, and what no record knows of."""
    left, living = [], set()
    for folder, ours in records():
        if ours.leader.is_alive:
            living.add(ours.leader.pid)
            known = {identity.pid for identity in ours.children.values()}
        else:
            left.append(f"the record of a dead host (pid {ours.leader.pid})")
            known = set()
            for name, identity in ours.children.items():
                if identity.is_alive:
                    left.append(f"its {name} (pid {identity.pid})")
                    known.add(identity.pid)
        left += [
            f"an agent of nobody (pid {agent.pid})"
            for agent in find_by_argument(str(folder.agent_config))
            if _group(agent.pid) not in known
        ]
    stray = list(_strays(living, case.policy.launch_s))
    if stray:
        pids = " ".join(str(pid) for _, pid in stray)
        named = ", ".join(f"a {name} of nobody (pid {pid})" for name, pid in stray)
        what = ", ".join([*left, named])
        remedy = f"Run %avocado_down; if they stay, end them: !kill {pids}"
        return warning("remains", f"Left over: {what}.", remedy)
    if left:
        what = f"Left over: {', '.join(left)}."
        remedy = "%avocado_down ends and removes it; %avocado_up starts with it anew."
        return warning("remains", what, remedy)
    return ok("remains", "Nothing is left of a host that died.")


def _strays(living: set[int], launch_s: float) -> Iterator[tuple[str, int]]:
    """Yield our user's hosts and guards in these state folders without a record."""
    for process in find_by_argument(daemon.__name__):
        if process.pid not in living and _is_stray(process.pid, launch_s):
            yield "host", process.pid
    for process in find_by_argument(reaper.__name__):
        with contextlib.suppress(psutil.Error):
            parent = psutil.Process(process.pid).ppid()
            if parent not in living and _is_stray(process.pid, launch_s):
                yield "guard", process.pid


def _is_stray(pid: int, launch_s: float) -> bool:
    """Return whether a process is of this state folder, and past its beginnings.

    One that is being started has no record yet.
    """
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        runtime = process.environ().get("XDG_RUNTIME_DIR", "")
        is_here = runtime == os.environ.get("XDG_RUNTIME_DIR", "")
        return is_here and time.time() - process.create_time() > launch_s
    return False
