"""A home of its own for each scenario: no file, port or process is shared."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from spicy_avocado_magic.client.api import down
from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.client.up import run_up
from spicy_avocado_magic.config.options import build_up_request
from spicy_avocado_magic.config.settings import Endpoints
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.protocol.json_codec import from_json
from spicy_avocado_magic.protocol.state import State
from tests.machine_speed import scaled

PACKAGE_PARENT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Home:
    """Folders that the product takes for the user's, and what still runs there."""

    path: Path

    @property
    def state_folders(self) -> tuple[Path, ...]:
        """Where the product keeps what is not meant to last."""
        root = self.path / "run" / "spicy-avocado"
        return (root / "host", root / "rehearsal")

    def up(
        self,
        *models: str,
        sources: Endpoints | None = None,
        policy: Timeouts | None = None,
        show: Callable[[State], None] | None = None,
        **options: object,
    ) -> Avocado:
        """Bring up with parsed options, against a world or a rehearsal."""
        parsed = {"models": models} if models else {}
        if sources is None:
            options = {"rehearse": True} | options
        return run_up(
            build_up_request(parsed | options),
            show=show or (lambda _: None),
            sources=sources,
            timeouts=policy,
        )

    def processes(self) -> list[psutil.Process]:
        """Return every process with this home's runtime folder in its environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                environment = process.environ().get("XDG_RUNTIME_DIR", "")
                is_here = environment == str(self.path / "run")
                if is_here and process.pid != os.getpid() and process.ppid():
                    found.append(process)
        return found

    def running(self, argument: str) -> list[psutil.Process]:
        """Return those with this argument; one that ends meanwhile is left out."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if argument in process.cmdline():
                    found.append(process)
        return found

    def wait_no_processes(
        self, within_s: float = scaled(5.0), beside: str = ""
    ) -> list[str]:
        """Return the command lines of what still runs after the time given.

        A process with the word ``beside`` in its command line may run on.
        """
        deadline = time.monotonic() + within_s
        while left := self._command_lines(beside):
            if time.monotonic() > deadline:
                break
            time.sleep(0.02)
        return left

    def _command_lines(self, beside: str) -> list[str]:
        lines = []
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                line = process.cmdline()
                if process.status() != psutil.STATUS_ZOMBIE and beside not in line:
                    lines.append(" ".join(line))
        return lines

    def secret_files(self) -> list[str]:
        """Return the files in the state folders that may hold secrets."""
        return [
            str(file)
            for folder in self.state_folders
            if folder.exists()
            for file in folder.iterdir()
            if file.name in {"wanted.json", "ngrok.yml"}
        ]


@contextlib.contextmanager
def new_home(set_variable: Callable[[str, str], None]) -> Iterator[Home]:
    """Make a home, without any ``ollama`` on PATH, and prove it empty at the end."""
    # Not under pytest's folder: a Unix socket's path may have 104 bytes at most.
    path = Path(tempfile.mkdtemp(prefix="avo-", dir="/tmp"))
    for name in ("run", "cache", "home"):
        (path / name).mkdir(mode=0o700)
    set_variable("XDG_RUNTIME_DIR", str(path / "run"))
    set_variable("XDG_CACHE_HOME", str(path / "cache"))
    set_variable("HOME", str(path / "home"))
    set_variable("PATH", without_ollama(os.environ["PATH"]))
    home = Home(path)
    try:
        yield home
        down()
        left = home.wait_no_processes()
        assert not left, f"still running after the end: {left}"
        assert not home.secret_files(), "files with secrets outlived the end"
    finally:
        with contextlib.suppress(Exception):
            down()
        for process in home.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        shutil.rmtree(path, ignore_errors=True)


def without_ollama(path: str) -> str:
    """Return PATH without the folders that hold an ``ollama``."""
    folders = path.split(os.pathsep)
    return os.pathsep.join(f for f in folders if not Path(f, "ollama").exists())


@contextlib.contextmanager
def running_world(folder: Path) -> Iterator[Endpoints]:
    """Run the loopback world as a process and yield where its parts are."""
    command = [sys.executable, "-P", "-m", "spicy_avocado_magic.rehearsal", str(folder)]
    # A runtime folder of its own, which distinguishes it from what runs in a home.
    environment = os.environ | {
        "PYTHONPATH": str(PACKAGE_PARENT),
        "XDG_RUNTIME_DIR": str(folder),
    }
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        # As the real world: the product must not treat it as a rehearsal.
        yield replace(from_json(Endpoints, json.loads(line)), rehearsal=False)
        process.stdin.close()
        assert process.wait(scaled(5)) == 0, (
            "the world did not end when its input closed"
        )
