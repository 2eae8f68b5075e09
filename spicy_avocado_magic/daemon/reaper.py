"""Reaper: a tiny process that ends the daemon's children when the daemon dies.

The daemon sends it each process group over a pipe. When the pipe closes, the reaper
kills the groups, the agent first, so that the tunnel never outlives the gateway and
the public URL never leads to another program.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ..protocol.event_log import FILE_NAME, GUARD, record_death
from ..system.processes import Identity, find_by_argument, identify, signal_group, spawn

_GONE_S: Final = 0.2
_LOOK_S: Final = 0.002


def main(lines: Iterable[str]) -> None:
    """Read the daemon's lines; at their end kill every group that is still listed."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: dict[str, Identity] = {}
    agent_config, flight = "", Path()
    for line in lines:
        verb, name, *rest = line.rstrip("\n").split("\t")
        match verb:
            case "config":
                agent_config, flight = name, Path(rest[0])
            case "add":
                groups[name] = Identity(pid=int(rest[0]), start=rest[1])
            case "done":
                groups.pop(name, None)
            case "stand-down":
                return
            case _:
                continue
    for name in sorted(groups, key=lambda name: name != "agent"):
        _kill(groups[name])
        _wait_gone(groups[name])
    # An agent that was starting when the daemon died is not listed yet.
    for orphan in find_by_argument(agent_config) if agent_config else ():
        _kill(orphan)
    # Last, since nothing may delay the end of what is exposed.
    record_death(flight, groups, by=GUARD)


def _kill(identity: Identity) -> None:
    current = identify(identity.pid)
    if current is None or current == identity:
        signal_group(identity.pid, signal.SIGKILL)


def _wait_gone(identity: Identity) -> None:
    """Return once a killed process is gone, so that the order is kept."""
    deadline = time.monotonic() + _GONE_S
    while identity.is_alive and time.monotonic() < deadline:
        time.sleep(_LOOK_S)


class Reaper:
    """The daemon's end of the pipe; starts a reaper and replaces one that died."""

    def __init__(self, agent_config: Path, log: Path) -> None:
        self._agent_config, self._log = agent_config, log
        self._groups: dict[str, Identity] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def identity(self) -> Identity | None:
        """The reaper's own process."""
        return identify(self._process.pid) if self._process else None

    def start(self) -> None:
        """Start a reaper and send it every group."""
        self._close()
        command = [sys.executable, "-P", "-m", "spicy_avocado_magic.daemon.reaper"]
        with self._log.open("ab") as log:
            self._process = spawn(command, log=log, stdin=subprocess.PIPE)
        flight = self._agent_config.with_name(FILE_NAME)
        self._send("config", str(self._agent_config), str(flight))
        for name, identity in self._groups.items():
            self._send("add", name, str(identity.pid), identity.start)

    async def keep(self, every_s: float) -> None:
        """Replace the reaper whenever it has died."""
        while True:
            await asyncio.sleep(every_s)
            if self._process is None or self._process.poll() is not None:
                self.start()

    def add(self, name: str, identity: Identity) -> None:
        """Add a group to end if the daemon dies."""
        self._groups[name] = identity
        self._send("add", name, str(identity.pid), identity.start)

    def done(self, name: str) -> None:
        """Remove a group that the daemon has ended itself."""
        if self._groups.pop(name, None) is not None:
            self._send("done", name)

    def stop(self) -> None:
        """Stop the reaper, once every group has ended."""
        self._send("stand-down", "")
        self._close()

    def _close(self) -> None:
        """Close the pipe, if there is one, and wait for the reaper's end."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            # A dead reaper's pipe may still hold an unread line.
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()

    def _send(self, *words: str) -> None:
        pipe = self._process.stdin if self._process else None
        if pipe is not None and not pipe.closed:
            try:
                pipe.write(("\t".join(words) + "\n").encode())
                pipe.flush()
            except BrokenPipeError:
                return  # ``keep`` starts another and sends it everything


if __name__ == "__main__":
    main(sys.stdin)
