"""Rotation of a child's log: bounded on disk, head and positions kept."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from spicy_avocado_magic.system.process_log import (
    HEAD_BYTES,
    ProcessLog,
    rotate_periodically,
)
from spicy_avocado_magic.system.processes import spawn
from spicy_avocado_magic.system.rotating_file import backup_path


@pytest.fixture
def log(tmp_path: Path) -> ProcessLog:
    """A log of a kilobyte at most."""
    return ProcessLog(tmp_path / "engine.log", most_bytes=1000)


def write(log: ProcessLog, text: str) -> None:
    """Append, as a child does."""
    with log.path.open("a") as file:
        file.write(text)


def test_rotation_keeps_the_end_and_the_positions(log: ProcessLog) -> None:
    """A position taken before a rotation is valid after it."""
    write(log, "old life\n")
    log.start_section()
    write(log, "a" * 1500 + "\n")
    position = log.size()
    write(log, "loaded 5 of 9 layers\n")
    assert log.needs_rotation
    log.rotate()
    assert log.path.stat().st_size == 0, "the file was not cut"
    assert backup_path(log.path).stat().st_size == 1000, "the backup is not bounded"
    assert log.since(position) == "loaded 5 of 9 layers\n"
    write(log, "served\n")
    assert log.since(position) == "loaded 5 of 9 layers\nserved\n"
    assert log.tail(2) == ["loaded 5 of 9 layers", "served"]
    assert log.size() == position + len("loaded 5 of 9 layers\nserved\n")


def test_the_head_of_a_section_survives_all_rotations(log: ProcessLog) -> None:
    """The first lines name the GPU that the engine found."""
    write(log, "old life\n")
    log.start_section()
    write(log, 'msg="inference compute" library=cuda\n')
    for number in range(5):
        write(log, f"{number}" * 1100)
        log.rotate()
    head = log.head()
    assert head.startswith('msg="inference compute" library=cuda\n'), head[:60]
    assert "old life" not in head
    log.start_section()
    write(log, "next life\n")
    assert (log.head(), log.since(0)) == ("next life\n", "next life\n")


def test_the_head_is_bounded(log: ProcessLog) -> None:
    """A flood does not move from the disk into the memory."""
    log.start_section()
    for _ in range(3):
        write(log, "x" * HEAD_BYTES)
        log.rotate()
    assert len(log.head()) <= HEAD_BYTES
    write(log, "x" * 3 * HEAD_BYTES)
    assert len(log.since(0)) <= HEAD_BYTES


def test_a_log_is_truncated_even_if_the_backup_cannot_be_written(
    log: ProcessLog,
) -> None:
    """Free disk space matters more than old lines."""
    backup_path(log.path).mkdir()  # nothing can be written there
    log.start_section()
    write(log, "x" * 2000)
    log.rotate()
    assert log.path.stat().st_size == 0, "the full disk stays full"


def test_a_missing_log_is_empty(log: ProcessLog) -> None:
    """`down` may have removed it."""
    log.start_section()
    log.rotate()
    assert (log.size(), log.head(), log.since(0), log.tail(3)) == (0, "", "", [])
    assert not log.needs_rotation


async def test_a_flooding_child_does_not_fill_the_disk(log: ProcessLog) -> None:
    """A real child that appends goes on at the file's new beginning."""
    script = "for number in range(20000):\n    print('line', number, flush=True)\n"
    log.start_section()
    with log.path.open("ab") as file:
        child = spawn([sys.executable, "-c", script], log=file)
    keeping = asyncio.create_task(rotate_periodically([log], 0.001))
    try:
        assert await asyncio.to_thread(child.wait, 60) == 0
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
    assert log.path.stat().st_size < 100_000, "the file was not rotated"
    log.rotate()
    assert log.size() > 150_000, "the positions do not count rotated bytes"
    assert backup_path(log.path).stat().st_size <= 1000
    assert log.head().startswith("line 0\nline 1\n")
