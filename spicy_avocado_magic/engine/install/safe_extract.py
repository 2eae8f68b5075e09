"""Which members of an archive may be unpacked, and where: nothing outside."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from tarfile import TarInfo
from typing import Final

from ...errors import DownloadFailed

REMEDY: Final = "Run %avocado_up again; if it stays so, choose another version."

_SET_ID_BITS: Final = 0o6000


def normalize_member_path(name: str) -> PurePosixPath:
    """Return a member's path without ``.`` parts.

    Raises:
        DownloadFailed: If it is absolute or goes up.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise _refused(name, "it leads outside")
    return path


def _refused(name: str, why: str) -> DownloadFailed:
    return DownloadFailed(f"The archive's member {name!r} is refused: {why}.", REMEDY)


class SafeExtractor:
    """What has been unpacked so far, and the rules for what may come next.

    Files and links are made exclusively, so that what comes twice is damage, also
    where the disk takes upper and lower case for the same.

    Args:
        root: An empty folder of our own.
        max_bytes: Bound of all files together.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._left_bytes = max_bytes
        self._files: set[PurePosixPath] = set()
        self._links: set[PurePosixPath] = set()

    def add(self, member: TarInfo, content: Iterable[memoryview]) -> None:
        """Unpack one member, whose content is read only if it is a file.

        Raises:
            DownloadFailed: If it is not what a release may hold.
            FileExistsError, NotADirectoryError: If it collides with another.
        """
        path = normalize_member_path(member.name)
        self._check(path, member)
        target = self._root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if member.isdir():
            target.mkdir(exist_ok=True)
        elif member.issym():
            _check_link(path, member.linkname)
            target.symlink_to(member.linkname)
            self._links.add(path)
        elif member.islnk():
            self._add_hard_link(path, member.linkname)
        else:
            self._left_bytes -= member.size
            _write(target, content)
            target.chmod(0o755 if member.mode & 0o111 else 0o644)
            self._files.add(path)

    def _check(self, path: PurePosixPath, member: TarInfo) -> None:
        if not (member.isdir() or member.isreg() or member.issym() or member.islnk()):
            raise _refused(member.name, "it is a device or pipe")
        if member.mode & _SET_ID_BITS:
            raise _refused(member.name, "it would run as another user")
        if any(parent in self._links for parent in (path, *path.parents)):
            raise _refused(member.name, "it writes through a link")
        if member.size > self._left_bytes or member.issparse():
            raise _refused(member.name, "it is larger than any release")

    def _add_hard_link(self, path: PurePosixPath, name: str) -> None:
        source = normalize_member_path(name)
        if source not in self._files:
            raise _refused(str(path), "it links to what is not in the archive")
        os.link(self._root / source, self._root / path)


def _write(target: Path, content: Iterable[memoryview]) -> None:
    with target.open("xb", buffering=0) as file:
        for piece in content:
            left = piece
            while left:
                left = left[file.write(left) :]


def _check_link(path: PurePosixPath, target: str) -> None:
    """Refuse a link that leaves: ``..`` only in front, and not above the root."""
    parts = PurePosixPath(target).parts
    ups = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    leaves = ups > len(path.parent.parts) or ".." in parts[ups:]
    if leaves or PurePosixPath(target).is_absolute():
        raise _refused(str(path), "its link leads outside")
