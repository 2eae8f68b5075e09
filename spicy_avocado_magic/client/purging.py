"""Remove the engine's releases that were installed, and nothing else."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import UserMustAct
from ..protocol.state_folder import hold_lock
from ..system.paths import ENGINES_LOCK, engines_folder

_LOCK_WAIT_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """What ``purge`` removed.

    Attributes:
        releases: Names such as ``0.34.1-cuda_v12``.
        freed_bytes: With what was half fetched.
    """

    releases: tuple[str, ...] = ()
    freed_bytes: int = 0


def purge(*, rehearsal: bool) -> Purged:
    """Remove all releases that this program installed for this user.

    Models are elsewhere and stay, and so does an ``ollama`` that is not ours.

    Args:
        rehearsal: Whether those of rehearsals are meant; never both.

    Raises:
        UserMustAct: If another notebook is installing one just now.
    """
    folder = engines_folder(rehearsal=rehearsal)
    if not folder.is_dir():
        return Purged()
    lock = folder / ENGINES_LOCK
    with hold_lock(lock, wait_s=_LOCK_WAIT_S) as is_free:
        if not is_free:
            raise UserMustAct(
                "Another notebook is just installing Ollama.",
                "Wait for it, or end it, then run %avocado_down --purge again.",
            )
        found = [path for path in folder.iterdir() if path != lock]
        freed = sum(_size_bytes(path) for path in found)
        releases = [p.name for p in found if p.is_dir() and p.name[0] != "."]
        for path in found:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        lock.unlink()
        with contextlib.suppress(OSError):  # a link to another disk stays
            folder.rmdir()
    return Purged(releases=tuple(sorted(releases)), freed_bytes=freed)


def _size_bytes(root: Path) -> int:
    """Return what a file or a folder takes; hard links count once, links not."""
    files = [root] if not root.is_dir() else []
    for folder, _, names in os.walk(root):
        files += [Path(folder, name) for name in names]
    told = [path.lstat() for path in files]
    sizes = {(one.st_dev, one.st_ino): one.st_size for one in told}
    return sum(sizes.values())
