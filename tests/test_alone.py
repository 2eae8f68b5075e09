"""What measures has the machine to itself, as far as this suite goes."""

from __future__ import annotations

import fcntl
import threading
from pathlib import Path

import pytest

from tests.machine_speed import scaled

from . import alone


def _is_held(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def test_one_waits_to_be_alone_and_nobody_enters_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins when the others have ended, and who comes later waits for its end."""
    run_lock, entry_lock = tmp_path / "run", tmp_path / "entry"
    for name, path in (("_RUN_LOCK", run_lock), ("_ENTRY_LOCK", entry_lock)):
        path.touch()
        monkeypatch.setattr(alone, name, path)
    seen: list[str] = []

    def run(name: str, *, is_alone: bool) -> None:
        with alone.turn(is_alone=is_alone):
            seen.append(f"{name} begins")
            seen.append(f"{name} ends")

    measuring = threading.Thread(target=run, args=("one",), kwargs={"is_alone": True})
    late = threading.Thread(target=run, args=("late",), kwargs={"is_alone": False})
    with alone.turn(is_alone=False), alone.turn(is_alone=False):
        measuring.start()
        while not _is_held(entry_lock):
            assert measuring.is_alive(), f"it did not wait: {seen}"
        late.start()
        late.join(0.05)
        assert not seen, f"somebody did not wait: {seen}"
    for thread in (measuring, late):
        thread.join(scaled(10))
    assert seen == ["one begins", "one ends", "late begins", "late ends"]
