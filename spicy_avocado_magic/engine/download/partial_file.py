"""A file on its way: what is there of it, its digest so far, its final check."""

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
    """What arrived is not what was published; never leaves this room."""


class FileRestarted(Exception):
    """The file has begun anew, so that what was read of it does not count."""


class PartClosed(Exception):
    """No more will come of the file."""


class PartialFile:
    """``<destination>.part``, appended to and hashed; all methods may block.

    Args:
        destination: The name it gets when it is whole.
        size: Bytes it must have; None if they are not known yet.
        sha256: Hex digest it must have; None to go by the size alone.
        beside: Bytes that must be free besides a file of the size given.
    """

    def __init__(
        self,
        destination: Path,
        size: int | None,
        sha256: str | None,
        *,
        beside: Callable[[int], int] = lambda _size: 0,
    ) -> None:
        self.size = size
        self.done = 0
        """Bytes that are written and hashed."""
        self.generation = 0
        """Grows when the file begins anew."""
        self.is_closed = False
        self.changed = threading.Condition()
        """Notified when any of these has changed."""
        self.path = destination.with_name(destination.name + ".part")
        self._destination = destination
        self._sha256 = sha256
        self._beside = beside
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._hash = hashlib.sha256()
        self._file = self.path.open("ab")
        try:
            self._take_over()
        except BaseException:
            self._file.close()
            raise

    def _take_over(self) -> None:
        if self.size is not None and self.path.stat().st_size > self.size:
            self._file.truncate(0)
        with self.path.open("rb") as old:
            while chunk := old.read(_HASH_CHUNK_BYTES):
                self._hash.update(chunk)
                self.done += len(chunk)
        if self.size is not None:
            self._require_space(self.size)

    def _require_space(self, size: int) -> None:
        require_space(self.path.parent, size - self.done + self._beside(size))

    def set_size(self, size: int) -> None:
        """Take note of how long the server says the file is.

        Raises:
            DownloadFailed: If that is not the size it must have.
            DiskTooSmall: If the size is news and does not fit.
        """
        if size == self.size:
            return
        if self.size is not None:
            raise DownloadFailed(
                f"{self._destination.name} should have {self.size} bytes, but the "
                f"server offers {size}.",
                "Try again later: the file may just be changing at its source.",
            )
        self._require_space(size)
        with self.changed:
            self.size = size
            self.changed.notify_all()

    def write(self, block: bytes) -> None:
        """Append bytes.

        Raises:
            OSError: If the disk does not take them.
            DownloadFailed: If they are more than were announced.
        """
        if self.size is not None and self.done + len(block) > self.size:
            raise DownloadFailed(
                f"The server sends more of {self._destination.name} than it announced.",
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
        """Forget what is there."""
        with self.changed:
            self.generation += 1
            self._file.truncate(0)
            self._hash = hashlib.sha256()
            self.done = 0
            self.changed.notify_all()

    def verify(self) -> None:
        """Refuse a file that is not what it must be; it is forgotten then.

        Raises:
            WrongDigest: If its digest is wrong.
        """
        if self._sha256 is None or self._hash.hexdigest() == self._sha256:
            return
        self.path.unlink(missing_ok=True)
        raise ChecksumError(self._destination.name)

    def commit(self) -> None:
        """Give the file its name, if it is what it must be.

        Raises:
            WrongDigest: If its digest is wrong.
        """
        self.close()
        self.verify()
        self.path.replace(self._destination)

    def close(self) -> None:
        """Close the file; what is there stays for the next try."""
        with self.changed:
            self.is_closed = True
            self._file.close()
            self.changed.notify_all()


@contextlib.asynccontextmanager
async def open_partial_file(
    open_part: Callable[[], PartialFile],
) -> AsyncIterator[PartialFile]:
    """Open a part in a thread, and close it at the end.

    A cancel while it is being opened waits for that: the thread goes on in any case,
    and a part that nobody holds would stay open.
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
    """Reads a part from its beginning while it grows; blocks at what is missing.

    Close it when done, as it holds a file of its own.
    """

    def __init__(self, part: PartialFile) -> None:
        self._part = part
        self._turn = part.generation
        self._position = 0
        self._file = part.path.open("rb", buffering=0)

    def read(self, size: int) -> bytes:
        """Return at least a byte and at most ``size``; none at the file's end.

        Raises:
            Rewound: If the part began anew.
            PartClosed: If it was closed meanwhile.
        """
        part = self._part
        while True:
            if part.is_closed:
                raise PartClosed
            if part.done > self._position and part.generation == self._turn:
                chunk = self._file.read(min(size, part.done - self._position))
                self._position += len(chunk)
                # Nothing is read where the part has just been emptied.
                if chunk:
                    return chunk
            with part.changed:
                if part.generation != self._turn:
                    raise FileRestarted
                if part.done == part.size == self._position:
                    return b""
                if part.done == self._position and not part.is_closed:
                    part.changed.wait()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
