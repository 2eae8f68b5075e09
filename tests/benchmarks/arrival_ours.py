"""Ours: one cell in a real IPython, from the magic's start to the probed URL."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from spicy_avocado_magic.client import up
from spicy_avocado_magic.config.settings import Endpoints
from spicy_avocado_magic.protocol.json_codec import from_json, to_json
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.protocol.state_folder import StateFolder
from tests.main_job.home import Home

from .arrival_home import cpu_s, process_cpu_s, variables
from .arrival_world import MODEL

TIMEOUT_S: Final = 300.0

_MARK: Final = "arrived: "
_CELL: Final = """
%load_ext spicy_avocado_magic
from tests.benchmarks.arrival_ours import Witness
witness = Witness.aim({sources!r})
try:
    %avocado_up {model}
    witness.report()
finally:
    %avocado_down
"""


@dataclass(slots=True)
class Witness:
    """Record when our service was ready and by which steps; runs in the kernel."""

    began: float
    began_at_s: float
    """By the wall clock, as the host's events are."""
    state: State = field(default_factory=State)

    @classmethod
    def aim(cls, sources: str) -> Witness:
        """Point ``%avocado_up`` at a world, which no option can, and look on.

        The clock starts here, so call it right before the magic.
        """
        witness = cls(time.monotonic(), time.time())
        real, world = up.run_up, from_json(Endpoints, json.loads(sources))

        def bring_up(*args: Any, show: Callable[[State], None], **options: Any) -> Any:
            def both(state: State) -> None:
                witness.state = state
                show(state)

            return real(*args, show=both, sources=world, **options)

        up.run_up = bring_up
        return witness

    def report(self) -> None:
        """Print what was seen, for ``arrive`` to read."""
        seconds = time.monotonic() - self.began
        host = psutil.Process(self.state.pid)
        output = {
            "seconds": seconds,
            "cpu_s": cpu_s(Home(Path(os.environ["XDG_RUNTIME_DIR"]).parent)),
            "host_cpu_s": round(process_cpu_s(host), 2),
            "host_peak_mb": _peak_mb(self.state.pid),
            "steps": [
                [
                    round(event["at_s"] - self.began_at_s, 2),
                    event["stage"],
                    event["text"],
                ]
                for event in _events(StateFolder.find(rehearsal=False).socket)
            ],
        }
        sys.stdout.write(f"\n{_MARK}{json.dumps(output)}\n")


def _events(host: Path) -> list[dict[str, Any]]:
    """Return every event of the daemon behind a socket so far."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(host))
        connection.sendall(b"GET /events?after=0 HTTP/1.0\r\n\r\n")
        with connection.makefile("rb") as answer:
            while answer.readline().strip():
                pass
            events: list[dict[str, Any]] = json.loads(answer.readline())["events"]
            return events


def arrive(home: Home, sources: Endpoints) -> dict[str, Any]:
    """Run the cell in a home and return the record of its witness.

    Raises:
        RuntimeError: With the output, if there is no URL in the end.
    """
    cell = _CELL.format(sources=json.dumps(to_json(sources)), model=MODEL)
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "IPython",
            "--no-banner",
            "--colors=nocolor",
            "-c",
            cell,
        ],
        env=variables(home),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT_S,
        check=False,
    )
    for line in ran.stdout.splitlines():
        if line.startswith(_MARK):
            output: dict[str, Any] = json.loads(line.removeprefix(_MARK))
            return output
    raise RuntimeError(
        f"ours did not arrive:\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
    )


def _peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(peak.split()[1]) / 1024, 1)
