"""Locks between processes."""

from __future__ import annotations

import time
from pathlib import Path

from spicy_avocado_magic.system.file_lock import hold_lock


def test_only_one_process_holds_the_lock(tmp_path: Path) -> None:
    """A second attempt fails after its wait; the lock is free once it is released."""
    path = tmp_path / "lock"
    with hold_lock(path) as first:
        with hold_lock(path) as second:
            assert (first, second) == (True, False)
        began = time.monotonic()
        with hold_lock(path, wait_s=0.05) as third:
            assert not third
        assert time.monotonic() - began >= 0.05
    with hold_lock(path) as again:
        assert again
