"""The folders: may they be used, do programs run from them, is there room."""

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

_LONGEST_SOCKET: Final = 103
"""Bytes of a Unix socket's path: 104 with the final zero on macOS, 108 on Linux."""
_ARCHIVE_BYTES: Final = 1_300_000_000
_UNPACKED_BYTES: Final = 4_600_000_000
"""Of a release with all its libraries: facts of 0.20.0, the largest one measured."""
_SMALL_MODEL_BYTES: Final = 1_000_000_000
_USUAL_MODEL_BYTES: Final = 5_000_000_000
"""Room for a model of 8,000 million weights at 4 bits, such as llama3."""
_REHEARSAL_BYTES: Final = 50_000_000
_ROOM: Final = (
    "Free some space, choose a smaller model, or point --models-dir at a larger disk."
)


def check_state_folder(case: DoctorContext) -> Finding:
    """Tell whether sockets, records and secrets can be kept.

    Raises:
        PlatformUnsupported: If the folder, or a file in it, is not ours alone.
    """
    elsewhere = "Set XDG_RUNTIME_DIR to a folder of your own on another disk."
    try:
        folder = StateFolder.find(rehearsal=case.rehearsal)
    except OSError as error:
        what = f"The state folder cannot be made: {error.strerror}."
        return broken("state", what, elsewhere)
    folder.read_record()
    folder.read_secrets()
    problem = unwritable(folder.path)
    if problem:
        return broken("state", problem, elsewhere)
    if is_noexec(folder.path):
        what = f"{folder.path} is on a disk from which no program may be started."
        return broken("state", what, elsewhere)
    if len(os.fsencode(folder.socket)) > _LONGEST_SOCKET:
        what = f"{folder.socket} is too long for the path of a socket."
        return broken("state", what, "Set XDG_RUNTIME_DIR to a shorter one.")
    return ok("state", f"{folder.path} is yours alone and can be written.")


def check_home(case: DoctorContext) -> Finding:
    """Tell whether the engine's own files, and programs, can be put into home."""
    remedy = "Set HOME (and XDG_CACHE_HOME) to a folder that can be written."
    home = home_folder()
    # The engine keeps its key in ``~/.ollama``, wherever its models are.
    for folder in (home / ".ollama", cache_folder(rehearsal=case.rehearsal)):
        problem = unwritable(nearest_existing(folder))
        if problem:
            return broken("home", problem, remedy)
    cache = nearest_existing(cache_folder(rehearsal=case.rehearsal))
    if is_noexec(cache) and shutil.which("ollama") is None:
        what = f"{cache} is on a disk from which no program may be started."
        return broken("home", what, "Set XDG_CACHE_HOME to a folder on another one.")
    if home != Path.home():
        what = f"{Path.home()} cannot be written: {home} is used, and may not last."
        return warning("home", what, remedy)
    return ok("home", f"{home} can be written.")


def check_engines_disk(case: DoctorContext) -> Finding:
    """Tell whether a release of the engine fits where engines are kept."""
    folder = engines_folder(rehearsal=case.rehearsal)
    if shutil.which("ollama") is not None or any(folder.glob("*/bin/ollama")):
        free = shutil.disk_usage(nearest_existing(folder)).free
        return ok("engine disk", f"Nothing to install; {format_bytes(free)} are free.")
    least, usual = _ARCHIVE_BYTES, _ARCHIVE_BYTES + _UNPACKED_BYTES
    if case.rehearsal:
        least = usual = _REHEARSAL_BYTES
    remedy = "Free some space, or set XDG_CACHE_HOME to a folder on a larger disk."
    return _room("engine disk", folder, (least, usual), remedy)


def check_models_disk(case: DoctorContext) -> Finding:
    """Tell whether models fit where models are kept.

    Raises:
        UsageError: If that is on a drive that is not mounted.
    """
    folder = models_place(case)
    require_drive_mounted(folder, case.platform)
    problem = unwritable(nearest_existing(folder))
    if problem:
        return broken("model disk", problem, "Point --models-dir at another folder.")
    least, usual = _SMALL_MODEL_BYTES, _USUAL_MODEL_BYTES
    # What a running service wanted is there already.
    if case.rehearsal or case.is_running:
        least = usual = _REHEARSAL_BYTES
    return _room("model disk", folder, (least, usual), _ROOM)


def models_place(case: DoctorContext) -> Path:
    """Return where models are or would be kept; unlike ``up``, make nothing there."""
    chosen = [
        folder
        for folder in case.platform.scratch
        if (Path(folder) / f"{APP}-models").is_dir()
    ]
    usual = models_folder(
        case.settings.models_dir, rehearsal=case.rehearsal, scratch=chosen
    )
    is_settled = bool(
        case.settings.models_dir
        or case.rehearsal
        or os.environ.get("OLLAMA_MODELS")
        or usual.is_dir()
    )
    if is_settled:
        return usual
    others = [Path(folder) for folder in case.platform.scratch]
    places = [usual, *(path for path in others if os.access(path, os.W_OK))]
    return max(places, key=lambda path: shutil.disk_usage(nearest_existing(path)).free)


def unwritable(folder: Path) -> str:
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


def is_noexec(folder: Path) -> bool:
    """Return whether programs on the folder's disk may not be started."""
    flag = getattr(os, "ST_NOEXEC", 0)  # macOS has none
    return bool(os.statvfs(folder).f_flag & flag)


def _room(name: str, folder: Path, needs: tuple[int, int], remedy: str) -> Finding:
    least, usual = needs
    place = nearest_existing(folder)
    free = shutil.disk_usage(place).free
    disk = os.statvfs(place)
    what = f"{folder}: {format_bytes(free)} are free"
    if disk.f_files and not disk.f_favail:
        return broken(name, f"{folder}: its disk takes no more files.", remedy)
    if free < least:
        return broken(name, f"{what}, {format_bytes(least)} are needed.", remedy)
    if free < usual:
        return warning(name, f"{what}, {format_bytes(usual)} are often needed.", remedy)
    return ok(name, f"{what}.")
