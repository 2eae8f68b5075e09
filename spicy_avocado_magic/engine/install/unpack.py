"""Safe unpacking of a release archive while it downloads: all of it, or nothing."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

import zstandard

from ...errors import DownloadFailed
from ..download.disk_space import map_disk_full

MAX_UNPACKED_BYTES: Final = 16 << 30
"""Four times the unpacked size of a release; more is a decompression bomb."""

TEMPORARY_PREFIX: Final = ".unpacking-"
_WINDOW_BYTES: Final = 1 << 31
_BUFFER_BYTES: Final = 1 << 18
_SET_ID_BITS: Final = 0o6000
_REMEDY: Final = "Run %avocado_up again; if that fails too, choose another version."

_DAMAGE: Final = (
    tarfile.TarError,
    zstandard.ZstdError,
    gzip.BadGzipFile,
    zlib.error,
    EOFError,
    FileExistsError,
    NotADirectoryError,
)


class Source(Protocol):
    """Compressed bytes, read once from the first to the last."""

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes; none at the end."""


def unpack(
    source: Source,
    name: str,
    destination: Path,
    *,
    verify: Callable[[], None],
    keep: Callable[[str], bool] = lambda _path: True,
    max_bytes: int = MAX_UNPACKED_BYTES,
) -> None:
    """Unpack a ``.tar.zst`` or ``.tgz``; ``destination`` appears whole, or not at all.

    Blocks. Members go into a temporary folder beside the destination, which is
    renamed at the end.

    Args:
        source: Read to its end; what it raises ends the unpacking.
        name: Of the archive; its suffix is its format.
        destination: A folder that does not exist.
        verify: Called when the source is read and before the rename; raises if the
            archive is not the published one.
        keep: Whether a member is wanted, by its path in the archive.
        max_bytes: Bound of the unpacked size.

    Raises:
        DownloadFailed: If a member is refused, or the archive is damaged.
        DiskTooSmall: If the disk becomes full.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=destination.parent))
    try:
        with (
            map_disk_full(destination.parent),
            _damage_of(name),
            _decompressed(source, name) as stream,
        ):
            reader = _ForwardReader(stream)
            # Not extractall(filter="data"): it corrects what we refuse, and before
            # Python 3.12.11 and 3.13.4 links could bypass it (CVE-2025-4517).
            with tarfile.TarFile(fileobj=reader) as tar:  # type: ignore[arg-type]  # it has the methods that are used
                extractor = SafeExtractor(temporary, max_bytes)
                for member in tar:
                    if keep(str(_member_path(member.name))):
                        extractor.extract(member, reader.views(member.size))
            reader.drain()
        verify()
        temporary.chmod(0o755)
        temporary.rename(destination)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _decompressed(source: Any, name: str) -> Any:
    """Return a reader of the decompressed archive; it may need a window of 128 MiB."""
    if name.endswith(".zst"):
        decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES)
        return decompressor.stream_reader(
            source, read_across_frames=True, closefd=False
        )
    return gzip.GzipFile(fileobj=source)


@contextlib.contextmanager
def _damage_of(name: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise DownloadFailed(
            f"{name} is damaged or cut short ({error}).", _REMEDY
        ) from error


class _ForwardReader:
    """A stream for ``tarfile`` that seeks only forward and hands files out as views.

    The views are of one small buffer: ``mode="r|"`` copies every block, and needs 2 MiB
    more memory and up to a fifth more CPU time than this.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._start = self._stop = 0
        self._position = 0

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        for _ in self.views(position - self._position):
            pass

    def read(self, size: int) -> bytes:
        return b"".join(self.views(size))

    def drain(self) -> None:
        """Read to the end."""
        while self._fill():
            pass

    def views(self, size: int) -> Iterator[memoryview]:
        """Yield the next bytes, each view valid until the next; fewer at the end.

        ``tarfile`` itself notices a file that is cut short.
        """
        while size > 0 and (self._start < self._stop or self._fill()):
            stop = min(self._stop, self._start + size)
            view = self._buffer[self._start : stop]
            size -= len(view)
            self._start = stop
            self._position += len(view)
            yield view

    def _fill(self) -> bool:
        """Refill the buffer, all of which was handed out; False at the end."""
        self._start, self._stop = 0, self._source.readinto(self._buffer)
        return self._stop > 0


class SafeExtractor:
    """Extraction of members of an untrusted archive into one folder.

    Files and links are created exclusively: a name that comes twice is damage, also
    on a disk that ignores case.

    Args:
        root: An empty folder.
        max_bytes: Bound of all files together.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        self._root = root
        self._left_bytes = max_bytes
        self._files: set[PurePosixPath] = set()
        self._links: set[PurePosixPath] = set()

    def extract(self, member: tarfile.TarInfo, content: Iterable[memoryview]) -> None:
        """Extract one member; ``content`` is read only if it is a file.

        Raises:
            DownloadFailed: If a release may not hold such a member.
            FileExistsError, NotADirectoryError: If it collides with another.
        """
        path = _member_path(member.name)
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
            original = _member_path(member.linkname)
            if original not in self._files:
                raise _refused(str(path), "it links to a file outside the archive")
            os.link(self._root / original, target)
        else:
            self._left_bytes -= member.size
            with target.open("xb", buffering=0) as file:
                for view in content:
                    left = view
                    while left:
                        left = left[file.write(left) :]
            target.chmod(0o755 if member.mode & 0o111 else 0o644)
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


def _member_path(name: str) -> PurePosixPath:
    """Return a member's path without ``.`` parts.

    Raises:
        DownloadFailed: If it is absolute or goes up.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise _refused(name, "it leads outside")
    return path


def _check_link(path: PurePosixPath, target: str) -> None:
    """Refuse a link that leads outside: ``..`` only in front, not above the root."""
    parts = PurePosixPath(target).parts
    ups = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    leaves = ups > len(path.parent.parts) or ".." in parts[ups:]
    if leaves or PurePosixPath(target).is_absolute():
        raise _refused(str(path), "its link leads outside")


def _refused(name: str, reason: str) -> DownloadFailed:
    return DownloadFailed(
        f"The archive's member {name!r} is refused: {reason}.", _REMEDY
    )
