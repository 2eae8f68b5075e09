"""The main job in rehearsal on machines that have less than this one.

Each trait is made real in a mount namespace and a process of its own: another user,
a home that nobody can write, ``/dev/shm`` of 64 MB (Docker's default), and a PATH
without ``zstd``, ``git`` and a compiler. Only root can make them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.machine_speed import scaled

from .home import PACKAGE_PARENT

UID: Final = 54321
"""A user number without a name and a home in the system's list of users."""
TOOLS: Final = ("mount", "setpriv", "sh", "unshare")
MAIN_JOB: Final = """
import os, shutil, sys
import openai
import spicy_avocado_magic as magic

print("uid", os.getuid(), "shm", shutil.disk_usage("/dev/shm").total)
print("programs", [x for x in ("zstd", "git", "cc", "gcc") if shutil.which(x)])
try:
    open(os.path.expanduser("~/probe"), "w").close()
    print("home can be written")
except OSError as error:
    print("home:", error.strerror)
avocado = magic.up("tiny", rehearse=True)
client = openai.OpenAI(base_url=avocado.url + "/v1", api_key=avocado.api_key)
answer = client.chat.completions.create(
    model="tiny", messages=[{"role": "user", "content": "hello"}], max_tokens=8
)
print("answer", bool(answer.choices[0].message.content))
for warning in avocado.status().warnings:
    print("warning", warning)
print("ended", sorted(magic.down()[0].processes))
"""


@functools.cache
def why_not() -> str:
    """Return why such a machine cannot be made here; empty if it can."""
    if os.getuid() != 0:
        return "needs root, to be somebody else"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    tried = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/dev/shm"],
        check=False,
        capture_output=True,
    )
    return "" if tried.returncode == 0 else "nothing can be mounted here"


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a folder for the machine, short enough for a socket's path."""
    if why_not():
        pytest.skip(why_not())
    folder = Path(tempfile.mkdtemp(prefix="avo-", dir="/tmp"))
    folder.chmod(0o755)
    for name in ("bin", "home", "tmp", "python", "site", "checkout", "engine"):
        (folder / name).mkdir()
    (folder / "bin" / "sh").symlink_to("/bin/sh")
    for name in ("home", "tmp"):
        os.chown(folder / name, UID, UID)
        (folder / name).chmod(0o700)
    yield folder
    for process in still_running(folder):
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)


def still_running(place: Path) -> list[psutil.Process]:
    """Return what runs on that machine."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("TMPDIR") == str(place / "tmp"):
                found.append(process)
    return found


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine with little: who works there, and whether home can be written."""

    place: Path
    uid: int = UID
    read_only_home: bool = False
    home: str = "home"
    engine: Path | None = None
    """A real Ollama, on PATH there."""

    def run(self) -> str:
        """Run the main job there, and return what it printed.

        What it runs from may lie where only root may look, so it is mounted again.
        """
        ran = subprocess.run(
            [tool("unshare"), "-m", tool("sh"), "-ec", self._script(), "sh", MAIN_JOB],
            check=False,
            capture_output=True,
            text=True,
            timeout=scaled(100),
            cwd=self.place,
            env={
                "HOME": str(self.place / self.home),
                "TMPDIR": str(self.place / "tmp"),
                "PATH": f"{self.place}/bin:{self.place}/engine/bin",
                "PYTHONPATH": f"{self.place}/checkout:{self.place}/site",
                # Where Python is a library, it is not where it was built for.
                "LD_LIBRARY_PATH": f"{self.place}/python/lib",
            },
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def _script(self) -> str:
        sources = {
            "python": sys.base_prefix,
            "site": site.getsitepackages()[0],
            "checkout": str(PACKAGE_PARENT),
            **({"engine": str(self.engine.parents[1])} if self.engine else {}),
        }
        mount = tool("mount")
        lines = [f"{mount} --bind '{sources[name]}' {name}" for name in sources]
        if self.read_only_home:
            lines += [f"{mount} --bind home home", f"{mount} -o remount,bind,ro home"]
        python = f"python/bin/{Path(sys.executable).resolve().name}"
        lines += [
            f"{mount} -t tmpfs -o size=64m none /dev/shm",
            f"as='{tool('setpriv')} --reuid {self.uid} --regid {self.uid}'",
            f'exec $as --clear-groups "$PWD/{python}" -c "$1"',
        ]
        return "\n".join(lines)


def tool(name: str) -> str:
    """Return where a program is: PATH has little there."""
    return str(shutil.which(name))


def expect_the_main_job(machine: Machine) -> str:
    """Run it, and see that it was done there, to its end."""
    output = machine.run()
    assert f"uid {machine.uid} shm {64 * 2**20}\n" in output, output
    assert "programs []" in output, output
    assert "answer True" in output, output
    assert "ended ['agent', 'engine', 'host', 'rehearsal']" in output, output
    left = [process.name() for process in still_running(machine.place)]
    assert not left, f"still running after down: {left}"
    return output


def test_somebody_without_root_and_without_programs_is_served(place: Path) -> None:
    """No ``zstd``, ``git`` or compiler; a small ``/dev/shm``; no name and no rights."""
    assert "home can be written" in expect_the_main_job(Machine(place))


def test_a_home_that_cannot_be_written_is_no_hindrance(place: Path) -> None:
    """Nothing is put there, and nothing is missed."""
    machine = Machine(place, read_only_home=True)
    assert "home: Read-only file system" in expect_the_main_job(machine)
    assert not list((place / "home").iterdir()), "something was put into home"


def test_a_home_of_somebody_else_is_no_hindrance(place: Path) -> None:
    """As in a container with root's ``HOME`` and another user."""
    (place / "locked").mkdir(mode=0o700)
    machine = Machine(place, home="locked")
    assert "home: Permission denied" in expect_the_main_job(machine)


def test_a_real_engine_starts_although_home_cannot_be_written(
    place: Path, real_ollama: Path
) -> None:
    """It makes itself a key, in the folder that stands in for home."""
    # As root, who may run what the engine starts from where it was built.
    machine = Machine(place, uid=0, read_only_home=True, engine=real_ollama)
    assert "home: Read-only file system" in expect_the_main_job(machine)
    assert list((place / "tmp").glob("*/.ollama/id_ed25519")), "it has no key"
