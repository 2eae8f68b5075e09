"""Unpack a release archive into place while it arrives: all of it, or nothing."""

from __future__ import annotations

import contextlib
import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol

import zstandard

from ...errors import DownloadFailed
from ..download.disk_space import disk_full
from .safe_extract import REMEDY, SafeExtractor, normalize_member_path

MAX_UNPACKED_BYTES: Final = 16 << 30
"""Four times what a release unpacks to; more is a bomb, not a release."""

TEMPORARY_PREFIX: Final = ".unpacking-"
_WINDOW_BYTES: Final = 1 << 31
_PIECE_BYTES: Final = 1 << 18

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
    """Unpack a ``.tar.zst`` or ``.tgz`` so that ``destination`` appears whole.

    Blocking. It is unpacked next to the destination and moved in one step; until
    then, and after any error, the destination does not exist.

    Args:
        source: Read to its end; what it raises ends the unpacking.
        name: Of the archive; its ending says how it is packed.
        destination: A folder that does not exist.
        verify: Called when all has been read and before anything can be run;
            raises if the archive is not the one that was published.
        keep: Whether a member is wanted, by its path in the archive.
        max_bytes: Bound of the unpacked size.

    Raises:
        DownloadFailed: If a member is refused, or the archive is damaged.
        DiskTooSmall: If the disk becomes full.
    """
    destination.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=destination.parent))
    try:
        with _damage_of(name), contextlib.ExitStack() as stack:
            plain = _ForwardReader(stack.enter_context(_decompressed(source, name)))
            tar = stack.enter_context(tarfile.TarFile(fileobj=plain))  # type: ignore[arg-type]  # it reads, tells and seeks, no more
            tree = SafeExtractor(temporary, max_bytes)
            for member in tar:
                if keep(str(normalize_member_path(member.name))):
                    tree.add(member, plain.views(member.size))
            plain.drain()
        verify()
        temporary.chmod(0o755)
        temporary.rename(destination)
    except OSError as error:
        full = disk_full(destination.parent, error)
        if full is None:
            raise
        raise full from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _decompressed(source: Any, name: str) -> Any:
    """Return a reader of what is packed; old releases have windows of 128 MiB."""
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
            f"{name} is damaged or cut short ({error}).", REMEDY
        ) from error


class _ForwardReader:
    """What ``tarfile`` reads headers from; seeks only forward.

    Files are handed out as views of one small buffer, since copies of a gigabyte
    cost more than its decompression.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._buffer = memoryview(bytearray(_PIECE_BYTES))
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
            self._start = self._stop

    def views(self, size: int) -> Iterator[memoryview]:
        """Yield the next bytes, each view good until the next; fewer at the end.

        ``tarfile`` finds out by itself that a file was cut short.
        """
        while size > 0 and (self._start < self._stop or self._fill()):
            stop = min(self._stop, self._start + size)
            view = self._buffer[self._start : stop]
            size -= len(view)
            self._start = stop
            self._position += len(view)
            yield view

    def _fill(self) -> bool:
        """Read on once all has been handed out; False at the end."""
        self._start, self._stop = 0, self._source.readinto(self._buffer)
        return self._stop > 0
