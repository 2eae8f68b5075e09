"""Unpack a release archive into place: nothing outside, all or nothing."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import zstandard

from ..errors import DownloadFailed
from .disk import disk_full

MAX_UNPACKED_BYTES: Final = 16 << 30
"""Four times what a release unpacks to; more is a bomb, not a release."""

TEMPORARY_PREFIX: Final = ".unpacking-"
_WINDOW_BYTES: Final = 1 << 31
_CHUNK_BYTES: Final = 1 << 20
_SET_ID_BITS: Final = 0o6000
_REMEDY: Final = "Run %avocado_up again; if it stays so, choose another version."

_DAMAGE: Final = (
    tarfile.TarError,
    zstandard.ZstdError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    FileExistsError,
    NotADirectoryError,
)


class UnpackCancelled(Exception):
    """The caller wanted no more of it; what was unpacked is gone again."""


def unpack(
    archive: Path,
    destination: Path,
    *,
    keep: Callable[[str], bool] = lambda _path: True,
    is_cancelled: Callable[[], bool] = lambda: False,
    max_bytes: int = MAX_UNPACKED_BYTES,
) -> None:
    """Unpack a ``.tar.zst`` or ``.tgz`` so that ``destination`` appears whole.

    Blocking. It is unpacked next to the destination and moved in one step; until
    then, and after any error, the destination does not exist.

    Args:
        archive: A file whose checksum was verified.
        destination: A folder that does not exist.
        keep: Whether a member is wanted, by its path in the archive.
        is_cancelled: Asked between chunks.
        max_bytes: Bound of the unpacked size.

    Raises:
        DownloadFailed: If a member is refused, or the archive is damaged.
        DiskTooSmall: If the disk becomes full.
        UnpackCancelled: If ``is_cancelled`` said so.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=destination.parent))
    try:
        with _damage_of(archive), _open_tar(archive) as tar:
            tree = _Tree(temporary, max_bytes, is_cancelled)
            for member in tar:
                if keep(str(_normal(member.name))):
                    tree.add(tar, member)
        temporary.chmod(0o755)
        temporary.rename(destination)
    except OSError as error:
        full = disk_full(destination.parent, error)
        if full is None:
            raise
        raise full from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _open_tar(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open as a stream; old releases were packed with windows of 128 MiB."""
    with contextlib.ExitStack() as stack:
        compressed = stack.enter_context(archive.open("rb"))
        plain: Any
        if archive.name.endswith(".zst"):
            decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
            plain = stack.enter_context(
                decompressor.stream_reader(compressed, read_across_frames=True)
            )
        else:
            plain = stack.enter_context(gzip.GzipFile(fileobj=compressed))
        yield stack.enter_context(tarfile.open(fileobj=plain, mode="r|"))


@contextlib.contextmanager
def _damage_of(archive: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DownloadFailed(
            f"{archive.name} is damaged or cut short ({error}).", _REMEDY
        ) from error


def _normal(name: str) -> PurePosixPath:
    """Return a member's path without ``.`` parts.

    Raises:
        DownloadFailed: If it is absolute or goes up.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise _refused(name, "it leads outside")
    return path


def _refused(name: str, why: str) -> DownloadFailed:
    return DownloadFailed(f"The archive's member {name!r} is refused: {why}.", _REMEDY)


class _Tree:
    """What has been unpacked so far, and the rules for what may come next.

    Files and links are made exclusively, so that what comes twice is damage, also
    where the disk takes upper and lower case for the same.
    """

    def __init__(
        self, root: Path, max_bytes: int, is_cancelled: Callable[[], bool]
    ) -> None:
        self._root = root
        self._left_bytes = max_bytes
        self._is_cancelled = is_cancelled
        self._files: set[PurePosixPath] = set()
        self._links: set[PurePosixPath] = set()

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Unpack one member.

        Raises:
            DownloadFailed: If it is not what a release may hold.
            UnpackCancelled: If nobody waits for it any more.
        """
        path = _normal(member.name)
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
            self._write(tar, member, target)
            self._files.add(path)

    def _check(self, path: PurePosixPath, member: tarfile.TarInfo) -> None:
        if not (member.isdir() or member.isreg() or member.issym() or member.islnk()):
            raise _refused(member.name, "it is a device or pipe")
        if member.mode & _SET_ID_BITS:
            raise _refused(member.name, "it would run as another user")
        if any(parent in self._links for parent in (path, *path.parents)):
            raise _refused(member.name, "it writes through a link")
        if member.size > self._left_bytes or member.issparse():
            raise _refused(member.name, "it is larger than any release")

    def _add_hard_link(self, path: PurePosixPath, name: str) -> None:
        source = _normal(name)
        if source not in self._files:
            raise _refused(str(path), "it links to what is not in the archive")
        os.link(self._root / source, self._root / path)

    def _write(
        self, tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path
    ) -> None:
        source = tar.extractfile(member)
        assert source is not None
        with target.open("xb") as file:
            while chunk := source.read(_CHUNK_BYTES):
                if self._is_cancelled():
                    raise UnpackCancelled
                file.write(chunk)
                self._left_bytes -= len(chunk)
        target.chmod(0o755 if member.mode & 0o111 else 0o644)


def _check_link(path: PurePosixPath, target: str) -> None:
    """Refuse a link that leaves: ``..`` only in front, and not above the root."""
    parts = PurePosixPath(target).parts
    ups = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    leaves = ups > len(path.parent.parts) or ".." in parts[ups:]
    if leaves or PurePosixPath(target).is_absolute():
        raise _refused(str(path), "its link leads outside")
