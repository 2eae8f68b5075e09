"""A file on its way."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from spicy_avocado_magic.engine.part import Part
from spicy_avocado_magic.errors import DownloadFailed

CONTENT = b"0123456789"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def test_a_part_goes_on_where_an_earlier_one_was(tmp_path: Path) -> None:
    """What is there counts and is part of the digest."""
    target = tmp_path / "file"
    first = Part(target, 10, SHA256)
    first.write(CONTENT[:4])
    first.close()
    second = Part(target, 10, SHA256)
    assert second.done == 4
    second.write(CONTENT[4:])
    second.place()
    assert target.read_bytes() == CONTENT


def test_a_restart_forgets_bytes_and_digest(tmp_path: Path) -> None:
    """After it, the right bytes make the right file."""
    part = Part(tmp_path / "file", 10, SHA256)
    part.write(b"wrong")
    part.restart()
    part.write(CONTENT)
    part.place()
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_dropped(tmp_path: Path) -> None:
    """Such a part is of another file."""
    (tmp_path / "file.part").write_bytes(b"x" * 11)
    part = Part(tmp_path / "file", 10, SHA256)
    assert part.done == 0
    part.close()


def test_more_bytes_than_announced_are_refused(tmp_path: Path) -> None:
    """A server cannot fill the disk beyond what it announced."""
    part = Part(tmp_path / "file", None, None)
    part.announce(10)
    with pytest.raises(DownloadFailed, match="more of file than it announced"):
        part.write(b"x" * 11)
    part.close()
