"""Small and read-only disks of a row's own, where this user may mount some."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Final

_SIZE: Final = "8m"
_CHUNK: Final = 4096


@functools.cache
def why_no_mounts() -> str:
    """Return why nothing can be mounted here; empty if it can."""
    if os.getuid() != 0:
        return "needs root, to mount a small disk"
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as undo:
        try:
            tmpfs(Path(folder), undo)
        except (OSError, subprocess.CalledProcessError):
            return "nothing can be mounted here"
    return ""


def tmpfs(folder: Path, undo: contextlib.ExitStack, size: str = _SIZE) -> None:
    """Mount an empty small disk over a folder, 0700."""
    _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "none", str(folder))
    undo.callback(_run, "umount", "-l", str(folder))


def read_only(folder: Path, undo: contextlib.ExitStack) -> None:
    """Let nothing be written to a folder any more."""
    _run("mount", "--bind", str(folder), str(folder))
    undo.callback(_run, "umount", "-l", str(folder))
    _run("mount", "-o", "remount,bind,ro", str(folder))


def fill(folder: Path) -> Path:
    """Fill a disk to its last byte, and return the file that does it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(_CHUNK))
    return filler


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
