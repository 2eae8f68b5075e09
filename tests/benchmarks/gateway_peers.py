"""What is compared, each as processes of its own: direct, our gateway, Caddy.

Every proxy checks the same key and writes an access log to a file.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .gateway_key import status_of
from .gateway_wire import Target

ROOT: Final = Path(__file__).parents[2]
_READY_S: Final = 120.0
_STOP_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Engine:
    """The running engine stand-in."""

    port: int
    pid: int


class Peer(ABC):
    """Something that answers in the engine's place, or the engine itself.

    Attributes:
        name: What it is called in table and JSON.
        slowness: By how much its load is divided, so that it is not swamped.
        ends_by_input: Whether it ends by itself with its standard input.
        is_quick_to_start: Whether a fresh process can be had for each measurement.
    """

    name: str
    slowness: float = 1.0
    is_quick_to_start: bool = True
    ends_by_input: bool = False
    how_to_install: str = ""

    def __init__(self, folder: Path, engine: Engine, key: str) -> None:
        self.folder = folder / self.name
        self.folder.mkdir(exist_ok=True)
        self.engine = engine
        self.key = key
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    @property
    def target(self) -> Target:
        """Where the load goes."""
        pid = self.process.pid if self.process else self.engine.pid
        return Target(port=self.port, key=self.key, pid=pid)

    def is_installed(self) -> bool:
        """Return whether it can be started here."""
        return True

    @abstractmethod
    def start(self) -> None:
        """Start it; return once it takes connections.

        Raises:
            TimeoutError: If it does not in time.
        """

    def stop(self) -> None:
        """End it, with its children."""
        process, self.process = self.process, None
        if process is None:
            return
        if process.stdin:
            process.stdin.close()
        if process.stdout:
            process.stdout.close()
        if not self.ends_by_input:
            process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def restart(self) -> None:
        """Replace it by a fresh process."""
        self.stop()
        self.start()

    def spawn(self, command: list[str], **environment: str) -> subprocess.Popen[str]:
        """Start a process with its errors in a file of this peer."""
        with (self.folder / "output").open("a") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if self.ends_by_input else output,
                stderr=output,
                text=True,
            )
        return self.process

    def private_file(self, name: str, text: str) -> str:
        """Write a file that may hold the key; return its path."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)
        return str(path)

    def wait_until_ready(self) -> None:
        """Wait until it answers the right key with 200."""
        until = time.monotonic() + _READY_S
        while time.monotonic() < until:
            try:
                if status_of(self.port, f"Bearer {self.key}") == 200:
                    return
            except OSError:
                pass
            if self.process is not None and self.process.poll() is not None:
                break
            time.sleep(0.1)
        tail = (self.folder / "output").read_text()[-2000:]
        raise TimeoutError(f"{self.name} is not ready: {tail}")


class Direct(Peer):
    """The engine stand-in itself: the bound of what can be measured here."""

    name = "direct"

    def start(self) -> None:
        """Do nothing: it runs."""
        self.port = self.engine.port


class OurGateway(Peer):
    """The product's gateway."""

    name = "gateway"
    ends_by_input = True

    def start(self) -> None:
        """Start it, and send the key on its standard input."""
        process = self.spawn([sys.executable, "-m", "tests.benchmarks.our_gateway"])
        assert process.stdin is not None
        assert process.stdout is not None
        printed: dict[str, Any] = {
            "key": self.key,
            "engine_url": f"http://127.0.0.1:{self.engine.port}",
            "log": str(self.folder / "access.log"),
        }
        process.stdin.write(json.dumps(printed) + "\n")
        process.stdin.flush()
        self.port = int(process.stdout.readline() or 0)
        self.wait_until_ready()


class Caddy(Peer):
    """Debian's Caddy as a reverse proxy that compares a header with the key."""

    name = "caddy"
    how_to_install = "apt-get install caddy"

    def is_installed(self) -> bool:
        """Return whether it is on PATH."""
        return shutil.which("caddy") is not None

    def start(self) -> None:
        """Start it without its admin port, certificates or anything on disk."""
        self.port = free_port()
        config = self.private_file("Caddyfile", self._caddyfile())
        command = ["caddy", "run", "--adapter", "caddyfile", "--config", config]
        place = str(self.folder)
        self.spawn(command, HOME=place, XDG_DATA_HOME=place, XDG_CONFIG_HOME=place)
        self.wait_until_ready()

    def _caddyfile(self) -> str:
        return f"""
{{
	admin off
	auto_https off
	grace_period 100ms
}}
http://127.0.0.1:{self.port} {{
	bind 127.0.0.1
	log {{
		output file {self.folder}/access.log
	}}
	@keyless not header Authorization "Bearer {self.key}"
	respond @keyless "" 401
	reverse_proxy 127.0.0.1:{self.engine.port} {{
		flush_interval -1
		header_up -Authorization
	}}
}}
"""


def free_port() -> int:
    """Return a loopback port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
