"""Where files go: folders, the disks under them, and whose process owns them."""

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
"""In the engines' folder; held by ``flock`` while one is installed or removed."""


def require_posix() -> None:
    """Refuse Windows, where sessions, groups and Unix sockets are missing.

    Raises:
        PlatformUnsupported: On Windows.
    """
    if sys.platform == "win32":
        raise PlatformUnsupported(
            "Spicy Avocado does not run on Windows itself.",
            "Run the notebook in WSL 2, on Linux, macOS, Colab or Kaggle.",
        )


def runtime_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Return the machine-local folder for sockets and records, checked and 0700.

    The platform's runtime folder where there is one of ours, else one under the
    temp folder. Never a home folder: those may be shared between machines.

    Raises:
        PlatformUnsupported: If the folder belongs to somebody else.
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
    """Make a folder that is ours alone, or check that an existing one is.

    Raises:
        PlatformUnsupported: If it is a link, foreign-owned or cannot be made 0700.
    """
    # What is no folder is refused below.
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PlatformUnsupported(
            f"{folder} belongs to somebody else.",
            "Remove it, or set XDG_RUNTIME_DIR to a folder of your own.",
        )
    if stat.S_IMODE(found.st_mode) != 0o700:  # noqa: PLR2004
        folder.chmod(0o700)
    return folder


def home_folder() -> Path:
    """Return home; where that cannot be written, one of ours under the temp folder.

    The engine keeps its key in ``~/.ollama`` and does not start without one.

    Raises:
        PlatformUnsupported: If the folder there belongs to somebody else.
    """
    home = Path.home()
    if _is_writable(home):
        return home
    return private_folder(Path(tempfile.gettempdir()) / f"{APP}-home-{os.getuid()}")


def cache_folder(*, rehearsal: bool) -> Path:
    """Return where engines are kept; a rehearsal has one of its own."""
    import platformdirs

    folder = Path(platformdirs.user_cache_dir(APP, appauthor=False))
    if not _is_writable(folder):
        folder = home_folder() / ".cache" / APP
    return folder / "rehearsal-world" if rehearsal else folder


def engines_folder(*, rehearsal: bool) -> Path:
    """Return where installed releases of the engine are, a folder each."""
    return cache_folder(rehearsal=rehearsal) / "ollama"


def models_folder(
    models_dir: str, *, rehearsal: bool, scratch: Sequence[str] = ()
) -> Path:
    """Return where models are kept: as asked for, else where Ollama keeps them.

    Where Ollama has kept none yet, the roomiest of its usual place and the
    platform's ``scratch`` folders is taken, and made, so that it stays the one.
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
    # A folder of ours is there only if it was chosen before.
    for folder in (*others, usual):
        if folder.is_dir():
            return folder
    # The first of equals is the usual one.
    chosen = max((usual, *others), key=_free_bytes)
    if chosen != usual:
        chosen.mkdir(parents=True)
    return chosen


def require_drive_mounted(folder: Path, platform: Platform) -> None:
    """Refuse a folder on the platform's drive while that is not mounted.

    It would be made on the local disk: gone with the session, and in the way of
    the mount, which wants an empty folder.

    Raises:
        UsageError: With the line that mounts it.
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
    """Return a folder, or its nearest parent that exists."""
    # Unlike Path.exists, this passes over folders of other users such as /root.
    return next(x for x in (folder, *folder.parents) if os.path.exists(x))  # noqa: PTH110


def _is_writable(folder: Path) -> bool:
    """Return whether a folder can be written, or made."""
    return os.access(nearest_existing(folder), os.W_OK | os.X_OK)


def owner_pid() -> int:
    """Return the process whose end ends the host.

    In a kernel the notebook server (``JPY_PARENT_PID``), since a kernelspec may
    wrap the kernel in a shell which dies with each restart; else the kernel's
    parent. In a terminal or a script, the process itself.
    """
    if "ipykernel" not in sys.modules:
        return os.getpid()
    server = os.environ.get("JPY_PARENT_PID", "")
    return int(server) if server.isdigit() else os.getppid()
