"""A file on its way: what is there of it, its digest so far, its final check."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from ..errors import DownloadFailed
from .disk import require_space

_HASH_CHUNK_BYTES: Final = 1 << 20


class Part:
    """``<destination>.part``, appended to and hashed; all methods may block.

    Args:
        destination: The name it gets when it is whole.
        size: Bytes it must have; None if they are not known yet.
        sha256: Hex digest it must have; None to go by the size alone.
    """

    def __init__(self, destination: Path, size: int | None, sha256: str | None) -> None:
        self.size = size
        self._destination = destination
        self._sha256 = sha256
        self._path = destination.with_name(destination.name + ".part")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._hash = hashlib.sha256()
        self.done = 0
        self._file = self._path.open("ab")
        try:
            self._take_over()
        except BaseException:
            self._file.close()
            raise

    def _take_over(self) -> None:
        if self.size is not None and self._path.stat().st_size > self.size:
            self._file.truncate(0)
        with self._path.open("rb") as old:
            while chunk := old.read(_HASH_CHUNK_BYTES):
                self._hash.update(chunk)
                self.done += len(chunk)
        if self.size is not None:
            require_space(self._path.parent, self.size - self.done)

    def announce(self, size: int | None) -> None:
        """Take note of how long the server says the file is.

        Raises:
            DownloadFailed: If that is not the size it must have.
            DiskTooSmall: If the size is news and does not fit.
        """
        if size is None or size == self.size:
            return
        if self.size is not None:
            raise DownloadFailed(
                f"{self._destination.name} should have {self.size} bytes, but the "
                f"server offers {size}.",
                "Try again later: the file may just be changing at its source.",
            )
        require_space(self._path.parent, size - self.done)
        self.size = size

    def write(self, chunk: bytes) -> None:
        """Append bytes.

        Raises:
            OSError: If the disk does not take them.
            DownloadFailed: If they are more than were announced.
        """
        if self.size is not None and self.done + len(chunk) > self.size:
            raise DownloadFailed(
                f"The server sends more of {self._destination.name} than it announced.",
                "Try again later, or from another network.",
            )
        self._file.write(chunk)
        self._hash.update(chunk)
        self.done += len(chunk)

    def restart(self) -> None:
        """Forget what is there."""
        self._file.truncate(0)
        self._hash = hashlib.sha256()
        self.done = 0

    def place(self) -> None:
        """Give the file its name, if it is what it must be.

        Raises:
            DownloadFailed: If its size or digest is wrong; a wrong one is deleted.
        """
        self._file.close()
        if self._sha256 is not None and self._hash.hexdigest() != self._sha256:
            self._path.unlink()
            raise DownloadFailed(
                f"{self._destination.name} has a wrong checksum: damaged on the way, "
                f"or not the file that was published.",
                "Run %avocado_up again; if it stays so, this network alters downloads.",
            )
        self._path.replace(self._destination)

    def close(self) -> None:
        """Close the file; what is there stays for the next try."""
        self._file.close()
