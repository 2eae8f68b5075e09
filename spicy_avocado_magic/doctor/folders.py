"""Checks of folders and disks: writable, not mounted noexec, enough free space."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from ..formatting import format_bytes
from ..protocol.finding import Finding, broken, ok, warning
from ..protocol.state_folder import StateFolder
from ..system.paths import (
    APP,
    cache_folder,
    engines_folder,
    home_folder,
    models_folder,
    nearest_existing,
    require_drive_mounted,
)
from .context import DoctorContext

_MAX_SOCKET_BYTES: Final = 103
"""Of a Unix socket's path: 104 with the final zero on macOS, 108 on Linux."""
_ARCHIVE_BYTES: Final = 1_300_000_000
_UNPACKED_BYTES: Final = 4_600_000_000
"""Of a release with all its libraries: measured with 0.20.0, the largest one."""
_SMALL_MODEL_BYTES: Final = 1_000_000_000
_USUAL_MODEL_BYTES: Final = 5_000_000_000
"""A model of 8,000 million weights at 4 bits, such as llama3."""
_REHEARSAL_BYTES: Final = 50_000_000


def check_state_folder(context: DoctorContext) -> Finding:
    """Check that sockets, records and secrets can be stored.

    Raises:
        PlatformUnsupported: If somebody else owns the folder, or could have written
            or read a file in it.
    """
    remedy = "Set XDG_RUNTIME_DIR to a folder of your own on another disk."
    try:
        folder = StateFolder.find(rehearsal=context.rehearsal)
    except OSError as error:
        return broken(f"The state folder cannot be created: {error.strerror}.", remedy)
    folder.read_record()
    folder.read_secrets()
    problem = write_problem(folder.path) or _noexec_problem(folder.path)
    if problem:
        return broken(problem, remedy)
    if len(os.fsencode(folder.socket)) > _MAX_SOCKET_BYTES:
        problem = f"The path {folder.socket} is too long for a socket."
        return broken(problem, "Set XDG_RUNTIME_DIR to a shorter path.")
    return ok(f"{folder.path} is writable, and only by you.")


def check_home(context: DoctorContext) -> Finding:
    """Check that the home folder takes the engine's own files and programs."""
    remedy = "Set HOME (and XDG_CACHE_HOME) to a folder that can be written."
    home, cache = home_folder(), cache_folder(rehearsal=context.rehearsal)
    # The engine keeps its key in ``~/.ollama``, wherever its models are.
    for folder in (home / ".ollama", cache):
        if problem := write_problem(nearest_existing(folder)):
            return broken(problem, remedy)
    problem = _noexec_problem(nearest_existing(cache))
    if problem and shutil.which("ollama") is None:
        return broken(problem, "Set XDG_CACHE_HOME to a folder on another one.")
    if home != Path.home():
        problem = f"{Path.home()} cannot be written: {home} is used, and may not last."
        return warning(problem, remedy)
    return ok(f"{home} can be written.")


def check_engines_disk(context: DoctorContext) -> Finding:
    """Check that a release of the engine fits on its disk, unless one is installed."""
    folder = engines_folder(rehearsal=context.rehearsal)
    if shutil.which("ollama") is not None or any(folder.glob("*/bin/ollama")):
        free = shutil.disk_usage(nearest_existing(folder)).free
        return ok(f"Nothing to install; {format_bytes(free)} are free.")
    minimum, usual = _ARCHIVE_BYTES, _ARCHIVE_BYTES + _UNPACKED_BYTES
    if context.rehearsal:
        minimum = usual = _REHEARSAL_BYTES
    remedy = "Free some space, or set XDG_CACHE_HOME to a folder on a larger disk."
    return _check_space(folder, minimum, usual, remedy)


def check_models_disk(context: DoctorContext) -> Finding:
    """Check that models fit on their disk.

    Raises:
        UsageError: If that is on a drive that is not mounted.
    """
    folder = expected_models_folder(context)
    require_drive_mounted(folder, context.platform)
    problem = write_problem(nearest_existing(folder))
    if problem:
        return broken(problem, "Set --models-dir to another folder.")
    minimum, usual = _SMALL_MODEL_BYTES, _USUAL_MODEL_BYTES
    # A running service has its models already.
    if context.rehearsal or context.is_running:
        minimum = usual = _REHEARSAL_BYTES
    remedy = (
        "Free some space, choose a smaller model, or set --models-dir to a folder on "
        "a larger disk."
    )
    return _check_space(folder, minimum, usual, remedy)


def expected_models_folder(context: DoctorContext) -> Path:
    """Return where ``up`` would put models, without creating anything there."""
    scratch = [Path(folder) for folder in context.platform.scratch]
    chosen = [str(path) for path in scratch if (path / f"{APP}-models").is_dir()]
    usual = models_folder(
        context.settings.models_dir, rehearsal=context.rehearsal, scratch=chosen
    )
    is_settled = bool(
        context.settings.models_dir
        or context.rehearsal
        or os.environ.get("OLLAMA_MODELS")
        or usual.is_dir()
    )
    if is_settled:
        return usual
    folders = [usual, *(path for path in scratch if os.access(path, os.W_OK))]
    return max(folders, key=lambda path: shutil.disk_usage(nearest_existing(path)).free)


def write_problem(folder: Path) -> str:
    """Return why a file cannot be written there; empty if it can."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x" * 4096)
            file.flush()
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"The disk of {folder} is full."
        if error.errno == errno.EROFS:
            return f"{folder} is on a disk that is read-only."
        return f"{folder} cannot be written: {error.strerror}."
    return ""


def _noexec_problem(folder: Path) -> str:
    flag = getattr(os, "ST_NOEXEC", 0)  # macOS has none
    if os.statvfs(folder).f_flag & flag:
        return f"{folder} is on a disk mounted noexec: no program can be started there."
    return ""


def _check_space(folder: Path, minimum: int, usual: int, remedy: str) -> Finding:
    path = nearest_existing(folder)
    free = shutil.disk_usage(path).free
    disk = os.statvfs(path)
    message = f"{folder}: {format_bytes(free)} are free"
    if disk.f_files and not disk.f_favail:
        return broken(f"{folder}: the disk has no free inodes for files.", remedy)
    if free < minimum:
        needed = format_bytes(minimum)
        return broken(f"{message}, {needed} are needed.", remedy)
    if free < usual:
        needed = format_bytes(usual)
        return warning(f"{message}, {needed} are often needed.", remedy)
    return ok(f"{message}.")
