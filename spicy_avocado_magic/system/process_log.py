"""Rotation of a log that a child process writes by itself."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .rotating_file import MAX_BYTES, backup_path

HEAD_BYTES: Final = 1 << 19
"""Start of a section's output, kept in memory when its file is rotated."""
_TAIL_BYTES: Final = 1 << 19


class ProcessLog:
    """The output file of successive child processes, in sections, one for each.

    Rotation copies and truncates, like logrotate's ``copytruncate``: a child that
    appends continues at the new start of the file. Output written between the two
    steps is lost. Positions count all bytes ever written to the file, so a position
    taken before a rotation stays valid.

    Args:
        path: The file, which each child must open for appending.
        most_bytes: Size limit of the file and of its backup.
    """

    def __init__(self, path: Path, *, most_bytes: int = MAX_BYTES) -> None:
        self.path = path
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._cut_bytes = 0
        self._backup_from = 0
        self._life_from = 0
        self._head = b""

    def start_section(self) -> None:
        """Start a section: ``head``, ``since`` and ``tail`` ignore older output."""
        with self._lock:
            self._life_from, self._head = self._size(), b""

    def size(self) -> int:
        """Return the position of the next byte, for a later ``since``."""
        with self._lock:
            return self._size()

    def head(self) -> str:
        """Return the first ``HEAD_BYTES`` of this section, also after rotations."""
        with self._lock:
            return self._whole_head().decode("utf-8", "replace")

    def since(self, position: int) -> str:
        """Return this section's output after a position, at most its last 512 KiB."""
        with self._lock:
            end = self._size()
            first = max(self._life_from, position, end - _TAIL_BYTES)
            return self._read(first, end - first).decode("utf-8", "replace")

    def tail(self, count: int) -> list[str]:
        """Return the last lines of this section, oldest first."""
        return self.since(0).splitlines()[-count:]

    @property
    def needs_rotation(self) -> bool:
        """Whether the file is larger than its limit."""
        return self._file_bytes() > self._most_bytes

    def rotate(self) -> None:
        """Move the end of the file to the backup and truncate it.

        Blocking; never raises.
        """
        with self._lock, contextlib.suppress(OSError):
            self._head = self._whole_head()
            with self.path.open("rb") as file:
                first = max(0, file.seek(0, os.SEEK_END) - self._most_bytes)
                file.seek(first)
                kept = file.read()
            os.truncate(self.path, 0)
            self._backup_from = self._cut_bytes + first
            self._cut_bytes += first + len(kept)
            # After truncation, which frees space on a full disk.
            backup_path(self.path).write_bytes(kept)

    def _whole_head(self) -> bytes:
        more = HEAD_BYTES - len(self._head)
        return self._head + self._read(self._life_from + len(self._head), more)

    def _size(self) -> int:
        return self._cut_bytes + self._file_bytes()

    def _file_bytes(self) -> int:
        with contextlib.suppress(OSError):
            return self.path.stat().st_size
        return 0

    def _read(self, position: int, count: int) -> bytes:
        """Return bytes from a position, as far as they are still on disk."""
        found = b""
        if position < self._cut_bytes:
            first = max(0, position - self._backup_from)
            found = _read_file(backup_path(self.path), first, count)
            position = self._cut_bytes
        first, more = position - self._cut_bytes, count - len(found)
        return found + _read_file(self.path, first, more)


def _read_file(path: Path, first: int, count: int) -> bytes:
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(first)
        return file.read(max(0, count))
    return b""


async def rotate_periodically(logs: Sequence[ProcessLog], every_s: float) -> None:
    """Rotate each log whenever it exceeds its limit, until cancelled."""
    while True:
        await asyncio.sleep(every_s)
        for log in logs:
            if log.needs_rotation:
                await asyncio.to_thread(log.rotate)
