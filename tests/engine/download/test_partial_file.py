"""A file on its way."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from spicy_avocado_magic.engine.download.partial_file import (
    ChecksumError,
    FileRestarted,
    PartialFile,
    PartialFileClosed,
    PartialFileReader,
    open_partial_file,
)
from spicy_avocado_magic.errors import DiskTooSmall, DownloadFailed
from tests.machine_speed import scaled

CONTENT = b"0123456789"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_a_part_goes_on_where_an_earlier_one_was(tmp_path: Path) -> None:
    """What is there counts and is part of the digest."""
    target = tmp_path / "file"
    first = PartialFile(target, 10, SHA256)
    first.write(CONTENT[:4])
    first.close()
    second = PartialFile(target, 10, SHA256)
    assert second.done == 4
    second.write(CONTENT[4:])
    second.commit()
    assert target.read_bytes() == CONTENT


def test_a_restart_forgets_bytes_and_digest(tmp_path: Path) -> None:
    """After it, the right bytes make the right file."""
    part = PartialFile(tmp_path / "file", 10, SHA256)
    part.write(b"wrong")
    part.restart()
    part.write(CONTENT)
    part.commit()
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_dropped(tmp_path: Path) -> None:
    """Such a part is of another file."""
    (tmp_path / "file.part").write_bytes(b"x" * 11)
    part = PartialFile(tmp_path / "file", 10, SHA256)
    assert part.done == 0
    part.close()


async def test_a_cancel_while_a_part_is_opened_leaves_none_open(
    tmp_path: Path,
) -> None:
    """A file that is hashed for seconds is let go of all the same."""
    may_open, parts = threading.Event(), list[PartialFile]()

    def open_part() -> PartialFile:
        may_open.wait(scaled(10))
        parts.append(PartialFile(tmp_path / "file", 10, SHA256))
        return parts[0]

    async def use() -> None:
        async with open_partial_file(open_part):
            raise AssertionError("it was cancelled before")

    using = asyncio.create_task(use())
    await asyncio.sleep(0)
    using.cancel()
    await asyncio.sleep(0)
    may_open.set()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert parts[0].is_closed, "the part stays open"


def test_a_closed_part_takes_no_more(tmp_path: Path) -> None:
    """A write that was under way when a download was cancelled harms nothing."""
    part = PartialFile(tmp_path / "file", 10, SHA256)
    part.close()
    part.write(CONTENT)
    assert (part.done, part.path.stat().st_size) == (0, 0)


def test_more_bytes_than_announced_are_refused(tmp_path: Path) -> None:
    """A server cannot fill the disk beyond what it announced."""
    part = PartialFile(tmp_path / "file", None, None)
    part.set_size(10)
    with pytest.raises(DownloadFailed, match="more of file than announced"):
        part.write(b"x" * 11)
    part.close()


def test_a_wrong_digest_forgets_the_file(tmp_path: Path) -> None:
    """What is not what it must be is neither placed nor resumed."""
    part = PartialFile(tmp_path / "file", 5, SHA256)
    part.write(b"wrong")
    with pytest.raises(ChecksumError, match="file"):
        part.commit()
    assert list(tmp_path.iterdir()) == []


def test_what_must_fit_beside_counts(tmp_path: Path) -> None:
    """The unpacked files of an archive are asked for with the archive itself."""
    part = PartialFile(
        tmp_path / "file", None, None, extra_bytes=lambda size: size << 50
    )
    with pytest.raises(DiskTooSmall):
        part.set_size(10)
    part.close()


def test_a_follower_reads_what_is_there_and_what_comes(tmp_path: Path) -> None:
    """It gives old and new bytes, and the end only once all are there."""
    (tmp_path / "file.part").write_bytes(CONTENT[:4])
    part = PartialFile(tmp_path / "file", 10, SHA256)
    follower = PartialFileReader(part)
    with ThreadPoolExecutor() as pool:
        assert follower.read(100) == CONTENT[:4]
        waiting = pool.submit(follower.read, 100)
        assert not waiting.done(), "it did not wait for what is missing"
        part.write(CONTENT[4:])
        assert waiting.result(scaled(5)) == CONTENT[4:]
        assert follower.read(100) == b""
    follower.close()
    part.close()


def test_a_reader_raises_after_a_restart(tmp_path: Path) -> None:
    """What it has read does not count any more."""
    part = PartialFile(tmp_path / "file", 10, SHA256)
    follower = PartialFileReader(part)
    part.write(b"wrong")
    assert follower.read(100) == b"wrong"
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(follower.read, 100)
        part.restart()
        with pytest.raises(FileRestarted):
            waiting.result(scaled(5))
    part.write(CONTENT)
    with pytest.raises(FileRestarted):
        follower.read(100)
    follower.close()
    part.close()


def test_a_follower_ends_when_the_part_is_closed(tmp_path: Path) -> None:
    """Nobody waits for bytes that will not come."""
    part = PartialFile(tmp_path / "file", 10, SHA256)
    follower = PartialFileReader(part)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(follower.read, 100)
        part.close()
        with pytest.raises(PartialFileClosed):
            waiting.result(scaled(5))
    follower.close()
