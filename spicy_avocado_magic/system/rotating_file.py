"""A log file of bounded size, with one backup."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 5 * 2**20
"""A larger file replaces the one backup."""
_BLOCK_BYTES: Final = 1 << 16


class RotatingFile:
    """A file of lines that is rotated when it exceeds its limit.

    Attributes:
        lost: Number of lines that could not be written, such as to a full disk.
    """

    def __init__(self, path: Path, *, most_bytes: int = MAX_BYTES) -> None:
        """Open nothing yet.

        Args:
            path: The file, created with mode 0600.
            most_bytes: Approximate limit of the file; the one backup is beside it.
        """
        self.path = path
        self.lost = 0
        self._most_bytes = most_bytes

    def append(self, lines: Sequence[str]) -> bool:
        """Write lines, given without line ends; return whether they were written.

        A line is written whole or not at all. Nothing is raised, because a logging
        failure must not end the program.
        """
        if not lines:
            return True
        try:
            self._write(("\n".join(lines) + "\n").encode())
        except OSError:
            self.lost += len(lines)
            return False
        return True

    def _write(self, batch: bytes) -> None:
        # Opened for each batch: ``down`` may have removed it or a user moved it.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(self.path, flags, 0o600)
        try:
            size_bytes = os.fstat(file).st_size
            written = os.write(file, batch)
            if written < len(batch):
                # The disk is full: the next line must not continue a half line.
                os.ftruncate(file, size_bytes)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(file)
        if size_bytes + written > self._most_bytes:
            with contextlib.suppress(OSError):
                self.path.replace(backup_path(self.path))


def backup_path(path: Path) -> Path:
    """Return the path of a log's rotated backup."""
    return path.with_suffix(f".1{path.suffix}")


def tail_lines(path: Path, count: int, *, until_bytes: int | None = None) -> list[str]:
    """Return the last lines of a log and its backup, oldest first.

    Unreadable files are skipped; bytes that are not UTF-8 are replaced.

    Args:
        path: The log.
        count: Largest number of lines.
        until_bytes: Position in the log at which to stop; by default its end.
    """
    lines: list[bytes] = []
    for part, until in ((path, until_bytes), (backup_path(path), None)):
        if len(lines) < count:
            with contextlib.suppress(OSError):
                lines = _last_lines(part, count - len(lines), until) + lines
    return [line.decode("utf-8", "replace") for line in lines]


def _last_lines(path: Path, count: int, until: int | None) -> list[bytes]:
    """Return a file's last lines, read in blocks from its end."""
    found = b""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        position = end if until is None else min(until, end)
        while position > 0 and found.count(b"\n") <= count:
            size_bytes = min(_BLOCK_BYTES, position)
            position -= size_bytes
            file.seek(position)
            found = file.read(size_bytes) + found
    lines = found.removesuffix(b"\n").split(b"\n") if found else []
    return lines[-count:]
