"""Where we run: platform, GPU, folders and disk, as one table of rows."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .errors import PlatformUnsupported, UsageMistake

APP: Final = "spicy-avocado"
ENGINES_LOCK: Final = ".lock"
"""In the engines' folder; held by ``flock`` while one is installed or removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One kind of place where notebooks run."""

    name: str
    marks: tuple[str, ...] = ()
    """Environment variables, any of which tells this platform."""
    library_path: str = ""
    """Where its NVIDIA driver libraries are, if the loader does not know."""
    scratch: tuple[str, ...] = ()
    """Folders that may lie on a larger disk than the home folder does."""
    drive: str = ""
    """Where a drive that outlives the session is mounted, once the user does so."""
    policy: str = ""
    """What its terms say about services and tunnels, in one line."""


PLATFORMS: Final = (
    # Kaggle's image is built on Colab's and carries its variables: test it first.
    Platform(
        name="Kaggle",
        marks=("KAGGLE_KERNEL_RUN_TYPE",),
        library_path="/usr/local/nvidia/lib64",
        scratch=("/kaggle/temp",),
        policy="Kaggle's terms ban many forms of tunneling; "
        "your account may be restricted.",
    ),
    Platform(
        name="Google Colab",
        marks=("COLAB_RELEASE_TAG", "COLAB_GPU"),
        library_path="/usr/lib64-nvidia",
        scratch=("/content",),
        drive="/content/drive",
        policy="Colab's terms restrict serving and remote use, above all on free "
        "runtimes; your access may be limited.",
    ),
    Platform(name="Databricks", marks=("DATABRICKS_RUNTIME_VERSION",)),
    Platform(name="Codespaces", marks=("CODESPACES",)),
    Platform(name="this machine"),
)


def detect_platform(environ: Mapping[str, str] | None = None) -> Platform:
    """Return the first row whose marks are in the environment."""
    environ = os.environ if environ is None else environ
    for platform in PLATFORMS:
        if any(mark in environ for mark in platform.marks):
            return platform
    return PLATFORMS[-1]


def require_supported() -> None:
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


def cache_folder(*, rehearsal: bool) -> Path:
    """Return where engines are kept; a rehearsal has one of its own."""
    import platformdirs

    folder = Path(platformdirs.user_cache_dir(APP, appauthor=False))
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
    usual = Path.home() / ".ollama" / "models"
    others = [
        Path(folder) / f"{APP}-models"
        for folder in scratch
        if os.access(_existing(Path(folder)), os.W_OK)
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


def require_mounted(folder: Path, platform: Platform) -> None:
    """Refuse a folder on the platform's drive while that is not mounted.

    It would be made on the local disk: gone with the session, and in the way of
    the mount, which wants an empty folder.

    Raises:
        UsageMistake: With the line that mounts it.
    """
    drive = platform.drive
    if drive and folder.is_relative_to(drive) and not os.path.ismount(drive):
        raise UsageMistake(
            f"{folder} is on a drive that is not mounted.",
            f"Run `from google.colab import drive; drive.mount('{drive}')` first.",
        )


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(_existing(folder)).free


def _existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


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
