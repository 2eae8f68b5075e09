"""Checks for free disk space."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ...errors import DiskTooSmall
from ...formatting import format_bytes
from ...system.paths import nearest_existing

_REMEDY: Final = (
    "Free some space, choose a smaller model, or point --models-dir at a larger disk."
)


def require_space(folder: Path, needed_bytes: int) -> None:
    """Check that a folder, which need not exist yet, has this much free space.

    Raises:
        DiskTooSmall: Naming the folder, the bytes needed and the bytes free.
    """
    free = shutil.disk_usage(nearest_existing(folder)).free
    if needed_bytes > free:
        raise DiskTooSmall(
            f"{folder} needs {format_bytes(needed_bytes)}, "
            f"but only {format_bytes(free)} are free.",
            _REMEDY,
        )


@contextlib.contextmanager
def map_disk_full(folder: Path) -> Iterator[None]:
    """Raise ``DiskTooSmall`` for a write to a full disk or quota.

    Raises:
        DiskTooSmall: In place of that ``OSError``; others pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskTooSmall(f"The disk of {folder} is full.", _REMEDY) from error
