"""Rotating log files: bounded size, whole lines, reading from the end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from spicy_avocado_magic.system.rotating_file import (
    RotatingFile,
    backup_path,
    tail_lines,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is to be."""
    return tmp_path / "some.log"


def test_a_large_file_is_rotated_with_one_backup(path: Path) -> None:
    """The disk use is bounded, whatever comes, and the last lines are kept."""
    file = RotatingFile(path, most_bytes=100)
    for number in range(50):
        assert file.append([f"{number:09}"])
    backup = backup_path(path)
    assert path.stat().st_size + backup.stat().st_size <= 220, "it grows on"
    assert set(path.parent.iterdir()) <= {path, backup}, "strays are left"
    assert backup.match("*.log"), "the state folder would not know it for a log"
    assert tail_lines(path, 3) == [f"{number:09}" for number in (47, 48, 49)]


@pytest.mark.parametrize("partly", [False, True])
def test_a_full_disk_costs_lines_and_nothing_else(
    path: Path, partly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost lines are counted; later lines are whole."""
    file = RotatingFile(path)
    file.append(["before"])
    write = os.write

    def full(descriptor: int, batch: Any) -> int:
        if partly:
            return write(descriptor, batch[:3])
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("spicy_avocado_magic.system.rotating_file.os.write", full)
    assert not file.append(["lost", "too"])
    monkeypatch.undo()
    assert file.lost == 2, "lost lines are not counted"
    assert file.append(["after"])
    assert tail_lines(path, 9) == ["before", "after"], "half a line stayed"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "others can read it"


def test_a_link_in_its_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    """Nobody makes us write elsewhere."""
    target = tmp_path / "elsewhere"
    path.symlink_to(target)
    assert not RotatingFile(path).append(["line"])
    assert not target.exists(), "the link was followed"


def test_the_tail_is_exact_over_blocks_and_the_backup(path: Path) -> None:
    """The last lines are found wherever they begin."""
    backup_path(path).write_text("".join(f"old {n}\n" for n in range(3)))
    path.write_text("".join(f"{n} {'x' * 1000}\n" for n in range(200)))
    assert [line.split()[0] for line in tail_lines(path, 150)] == [
        str(number) for number in range(50, 200)
    ]
    assert tail_lines(path, 202)[:3] == ["old 1", "old 2", f"0 {'x' * 1000}"]
    assert len(tail_lines(path, 999)) == 203
    first_bytes = len(f"0 {'x' * 1000}\n")
    until = tail_lines(path, 2, until_bytes=first_bytes)
    assert until == ["old 2", f"0 {'x' * 1000}"], "more is read than was asked for"


def test_the_tail_of_a_missing_empty_or_truncated_file_is_read(path: Path) -> None:
    """A file that a full disk cut short is read as far as it goes."""
    assert tail_lines(path, 5) == []
    path.touch()
    assert tail_lines(path, 5) == []
    path.write_bytes(b"whole\nhal\xff")
    assert tail_lines(path, 5) == ["whole", "hal\ufffd"]
    assert tail_lines(path, 1) == ["hal\ufffd"]
