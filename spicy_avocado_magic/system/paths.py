"""Paths of the runtime, cache and models folders, and the owner process."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..errors import PlatformUnsupported, UsageError
from .platforms import Platform

APP: Final = "spicy-avocado"
ENGINES_LOCK: Final = ".lock"
"""File in the engines folder; locked while an engine is installed or removed."""


def require_posix() -> None:
    """Raise on Windows, which has no POSIX sessions, process groups or ``flock``.

    Raises:
        PlatformUnsupported: On Windows.
    """
    if sys.platform == "win32":
        raise PlatformUnsupported(
            "Spicy Avocado does not run directly on Windows.",
            "Run the notebook in WSL 2, on Linux, macOS, Colab or Kaggle.",
        )


def runtime_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Return the machine-local folder for sockets and records, with mode 0700.

    It is in the user's XDG runtime folder if that is writable, else in the temp
    folder. It is never in the home folder, which machines may share.

    Raises:
        PlatformUnsupported: If the folder belongs to another user.
    """
    environ = os.environ if environ is None else environ
    candidates = []
    if environ.get("XDG_RUNTIME_DIR"):
        candidates.append(Path(environ["XDG_RUNTIME_DIR"]) / APP)
    elif sys.platform == "linux":
        candidates.append(Path(f"/run/user/{os.getuid()}") / APP)
    for folder in candidates:
        if folder.parent.is_dir() and os.access(folder.parent, os.W_OK):
            return private_folder(folder)
    return private_folder(Path(tempfile.gettempdir()) / f"{APP}-{os.getuid()}")


def private_folder(folder: Path) -> Path:
    """Create a folder that only this user can enter, or check an existing one.

    Raises:
        PlatformUnsupported: If it is a link or belongs to another user.
    """
    # The checks below also refuse a file or a link.
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PlatformUnsupported(
            f"{folder} is not a folder of this user.",
            "Remove it, or set XDG_RUNTIME_DIR to a folder that you own.",
        )
    if stat.S_IMODE(found.st_mode) != 0o700:  # noqa: PLR2004
        folder.chmod(0o700)
    return folder


def home_folder() -> Path:
    """Return the home folder, or a private temp folder if home is not writable.

    The engine keeps its key in ``~/.ollama`` and does not start without it.

    Raises:
        PlatformUnsupported: If the temp folder belongs to another user.
    """
    home = Path.home()
    if _is_writable(home):
        return home
    return private_folder(Path(tempfile.gettempdir()) / f"{APP}-home-{os.getuid()}")


def cache_folder(*, rehearsal: bool) -> Path:
    """Return the folder for downloads; a rehearsal has a separate one."""
    import platformdirs

    folder = Path(platformdirs.user_cache_dir(APP, appauthor=False))
    if not _is_writable(folder):
        folder = home_folder() / ".cache" / APP
    return folder / "rehearsal-world" if rehearsal else folder


def engines_folder(*, rehearsal: bool) -> Path:
    """Return the folder of installed engine releases, one subfolder each."""
    return cache_folder(rehearsal=rehearsal) / "ollama"


def models_folder(
    models_dir: str, *, rehearsal: bool, scratch: Sequence[str] = ()
) -> Path:
    """Return the models folder: ``models_dir`` if set, else Ollama's own.

    If neither exists yet, choose the disk with most free space among Ollama's default
    and the platform's ``scratch`` folders. A chosen scratch folder is created, so that
    later calls return it again.
    """
    if models_dir:
        return Path(models_dir)
    if rehearsal:
        return cache_folder(rehearsal=True) / "models"
    if os.environ.get("OLLAMA_MODELS"):
        return Path(os.environ["OLLAMA_MODELS"])
    usual = home_folder() / ".ollama" / "models"
    others = [
        Path(folder) / f"{APP}-models"
        for folder in scratch
        if _is_writable(Path(folder))
    ]
    # A scratch folder of ours exists only if an earlier call chose it.
    for folder in (*others, usual):
        if folder.is_dir():
            return folder
    # ``max`` returns the first of equals, so that the default wins a tie.
    chosen = max((usual, *others), key=_free_bytes)
    if chosen != usual:
        chosen.mkdir(parents=True)
    return chosen


def require_drive_mounted(folder: Path, platform: Platform) -> None:
    """Raise if a folder is on the platform's drive and the drive is not mounted.

    The folder would be created on the local disk. It would be lost with the session
    and would block the mount, which needs an empty folder.

    Raises:
        UsageError: With the line that mounts the drive.
    """
    drive = platform.drive
    if drive and folder.is_relative_to(drive) and not os.path.ismount(drive):
        raise UsageError(
            f"{folder} is on a drive that is not mounted.",
            f"Run `from google.colab import drive; drive.mount('{drive}')` first.",
        )


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(nearest_existing(folder)).free


def nearest_existing(folder: Path) -> Path:
    """Return a folder or its nearest existing parent."""
    # Path.exists raises for paths below other users' folders, such as /root.
    return next(x for x in (folder, *folder.parents) if os.path.exists(x))  # noqa: PTH110


def _is_writable(folder: Path) -> bool:
    """Return whether a folder can be written, or created if it is missing."""
    return os.access(nearest_existing(folder), os.W_OK | os.X_OK)


def owner_pid() -> int:
    """Return the id of the process that the daemon must not outlive.

    In a kernel this is the notebook server (``JPY_PARENT_PID``), because a kernelspec
    may wrap the kernel in a shell that dies with each restart; without that variable,
    the kernel's parent. In a terminal or a script it is this process.
    """
    if "ipykernel" not in sys.modules:
        return os.getpid()
    server = os.environ.get("JPY_PARENT_PID", "")
    return int(server) if server.isdigit() else os.getppid()
