"""Advisory file locks between processes, with ``flock``."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_POLL_S: Final = 0.02


@contextlib.contextmanager
def hold_lock(path: Path, *, wait_s: float = 0.0) -> Iterator[bool]:
    """Yield whether the lock was acquired within ``wait_s``; release it at the end."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + wait_s
        while not (is_held := try_lock(descriptor)) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        yield is_held
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock an open file without waiting; return False if another process holds it.

    Closing the file releases the lock.
    """
    import fcntl  # missing on Windows, where ``require_posix`` raises first

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
