"""Whether something fits on the disk, asked before it is fetched."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from ...errors import DiskTooSmall

_GIB = 1 << 30
_MIB = 1 << 20


def require_space(folder: Path, needed_bytes: int) -> None:
    """Refuse what does not fit; ``folder`` need not exist yet.

    Raises:
        DiskTooSmall: Naming the folder, the bytes needed and the bytes free.
    """
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if needed_bytes > free:
        raise DiskTooSmall(
            f"{folder} needs {format_bytes(needed_bytes)}, "
            f"but only {format_bytes(free)} are free.",
            "Free some space, choose a smaller model, or point --models-dir at a "
            "larger disk.",
        )


def disk_full(folder: Path, error: OSError) -> DiskTooSmall | None:
    """Return the error for a write that found the disk full; None for others."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    return DiskTooSmall(
        f"The disk of {folder} is full.",
        "Free some space, choose a smaller model, or point --models-dir at a "
        "larger disk.",
    )


def format_bytes(size_bytes: int) -> str:
    """Return a size as people read it."""
    if size_bytes >= _GIB:
        return f"{size_bytes / _GIB:.1f} GiB"
    return f"{size_bytes / _MIB:.1f} MiB"
