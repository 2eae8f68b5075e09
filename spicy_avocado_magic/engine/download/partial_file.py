"""The ``.part`` file of a download, with its running hash and final check."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from ...errors import DownloadFailed
from .disk_space import require_space

_HASH_CHUNK_BYTES: Final = 1 << 20


class ChecksumError(Exception):
    """The file has a wrong digest; never leaves this package."""


class FileRestarted(Exception):
    """The download started again from the first byte; discard what was read."""


class PartialFileClosed(Exception):
    """The partial file was closed; no more bytes will come."""


class PartialFile:
    """``<destination>.part``, appended to and hashed; all methods block.

    Args:
        destination: The name it gets when it is complete.
        size: Bytes it must have; None while unknown.
        sha256: Hex digest it must have; None to check the size alone.
        extra_bytes: Returns the bytes that must be free beside a file of a size.
    """

    def __init__(
        self,
        destination: Path,
        size: int | None,
        sha256: str | None,
        *,
        extra_bytes: Callable[[int], int] = lambda _size: 0,
    ) -> None:
        self.size = size
        self.done = 0
        """Bytes written and hashed."""
        self.generation = 0
        """Incremented by each ``restart``."""
        self.is_closed = False
        self.changed = threading.Condition()
        """Notified when any of these changes."""
        self.path = destination.with_name(destination.name + ".part")
        self._destination = destination
        self._sha256 = sha256
        self._extra_bytes = extra_bytes
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._hash = hashlib.sha256()
        self._file = self.path.open("ab")
        try:
            self._load()
        except BaseException:
            self._file.close()
            raise

    def _load(self) -> None:
        if self.size is not None and self.path.stat().st_size > self.size:
            self._file.truncate(0)
        with self.path.open("rb") as old:
            while chunk := old.read(_HASH_CHUNK_BYTES):
                self._hash.update(chunk)
                self.done += len(chunk)
        if self.size is not None:
            self._require_space(self.size)

    def _require_space(self, size: int) -> None:
        require_space(self.path.parent, size - self.done + self._extra_bytes(size))

    def set_size(self, size: int) -> None:
        """Set the size that the server announces.

        Raises:
            DownloadFailed: If that is not the size it must have.
            DiskTooSmall: If the size was unknown and does not fit.
        """
        if size == self.size:
            return
        if self.size is not None:
            raise DownloadFailed(
                f"{self._destination.name} should have {self.size} bytes, but the "
                f"server announces {size}.",
                "Try again later: the file may be being replaced on the server.",
            )
        self._require_space(size)
        with self.changed:
            self.size = size
            self.changed.notify_all()

    def write(self, block: bytes) -> None:
        """Append bytes.

        Raises:
            OSError: If they cannot be written.
            DownloadFailed: If they exceed the announced size.
        """
        if self.size is not None and self.done + len(block) > self.size:
            raise DownloadFailed(
                f"The server sends more of {self._destination.name} than announced.",
                "Try again later, or from another network.",
            )
        with self.changed:
            if self.is_closed:
                return
            self._file.write(block)
            self._file.flush()
            self._hash.update(block)
            self.done += len(block)
            self.changed.notify_all()

    def restart(self) -> None:
        """Discard all bytes and start again from the first."""
        with self.changed:
            self.generation += 1
            self._file.truncate(0)
            self._hash = hashlib.sha256()
            self.done = 0
            self.changed.notify_all()

    def verify(self) -> None:
        """Check the digest, and delete the file if it is wrong.

        Raises:
            ChecksumError: If the digest is wrong.
        """
        if self._sha256 is None or self._hash.hexdigest() == self._sha256:
            return
        self.path.unlink(missing_ok=True)
        raise ChecksumError(self._destination.name)

    def commit(self) -> None:
        """Verify the file and rename it to its destination.

        Raises:
            ChecksumError: If the digest is wrong.
        """
        self.close()
        self.verify()
        self.path.replace(self._destination)

    def close(self) -> None:
        """Close the file, and keep its bytes for the next attempt."""
        with self.changed:
            self.is_closed = True
            self._file.close()
            self.changed.notify_all()


@contextlib.asynccontextmanager
async def open_partial_file(
    open_part: Callable[[], PartialFile],
) -> AsyncIterator[PartialFile]:
    """Open a partial file in a thread, and close it at the end.

    A cancellation while it opens waits for the thread, which cannot be cancelled: the
    file would stay open.
    """
    opening = asyncio.ensure_future(asyncio.to_thread(open_part))
    try:
        part = await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait([opening])
        if opening.exception() is None:
            opening.result().close()
        raise
    try:
        yield part
    finally:
        part.close()


class PartialFileReader:
    """A reader of a growing partial file, which blocks until the next bytes arrive.

    Close it after use: it holds an open file.
    """

    def __init__(self, part: PartialFile) -> None:
        self._part = part
        self._generation = part.generation
        self._position = 0
        self._file = part.path.open("rb", buffering=0)

    def read(self, size: int) -> bytes:
        """Return one to ``size`` bytes; none at the end of the file.

        Raises:
            FileRestarted: If the download started again from the first byte.
            PartialFileClosed: If the partial file was closed.
        """
        part = self._part
        while True:
            if part.is_closed:
                raise PartialFileClosed
            if part.done > self._position and part.generation == self._generation:
                chunk = self._file.read(min(size, part.done - self._position))
                self._position += len(chunk)
                # Nothing is read if the file has just been truncated.
                if chunk:
                    return chunk
            with part.changed:
                if part.generation != self._generation:
                    raise FileRestarted
                if part.done == part.size == self._position:
                    return b""
                if part.done == self._position and not part.is_closed:
                    part.changed.wait()

    def close(self) -> None:
        """Close the reader's own file."""
        self._file.close()
