"""The access log: its line, and the file that a request never waits for."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from spicy_avocado_magic.gateway.access_log import AccessLog, format_access_line
from spicy_avocado_magic.gateway.authentication import Caller
from spicy_avocado_magic.gateway.routes import Route
from spicy_avocado_magic.protocol.usage import TokenUsage
from spicy_avocado_magic.system.rotating_file import backup_path
from tests.machine_speed import scaled

from .fake_requests import make_context


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is to be."""
    return tmp_path / "access.log"


def lines_of(path: Path) -> list[str]:
    """Return the lines of a file, none where there is none."""
    return path.read_text().splitlines() if path.exists() else []


def files_of(folder: Path) -> list[Path]:
    """Return what is in a folder."""
    return list(folder.iterdir())


def link(path: Path, target: Path) -> None:
    """Put a link in a file's place."""
    path.symlink_to(target)


def mode_of(path: Path) -> int:
    """Return who may do what with a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_log_line_is_one_line_of_ascii() -> None:
    """Nothing that a terminal would obey gets into the log."""
    exchange = make_context(
        method="GET\x1b[31m\n", route=Route(label="/é", methods=()), status=200
    )
    line = format_access_line(exchange, sent_bytes=9)
    assert line.isascii(), "the line holds more than ASCII"
    assert line.isprintable(), "the line holds control characters"
    entry = json.loads(line)
    assert (entry["method"], entry["route"]) == ("GET\x1b[31m\n", "/é")
    assert (entry["status"], entry["bytes"]) == (200, 9)
    assert (entry["key"], entry["model"], entry["first_token_ms"]) == (None, None, None)
    long = format_access_line(make_context(method="A" * 9999), sent_bytes=0)
    assert len(long) < 500, "an unauthenticated client can fill the disk"


def test_a_line_names_the_key_model_and_tokens() -> None:
    """Key by its name, model, time to the first token, tokens and their kind."""
    exchange = make_context(
        Caller(name="alice", digest=b"secret"),
        route=Route(label="/api/chat", methods=("POST",)),
        model="tiny:latest",
        status=200,
        is_public=True,
        usage=TokenUsage(tokens_in=2, tokens_out=3, is_estimate=True),
    )
    exchange.record_chunk(b'{"done":false}\n' * 3)
    entry = json.loads(format_access_line(exchange, sent_bytes=9))
    assert (entry["key"], entry["model"]) == ("alice", "tiny:latest")
    assert (entry["tokens_in"], entry["tokens_out"], entry["is_estimate"]) == (
        2,
        3,
        True,
    )
    assert entry["is_public"] is True
    assert 0 <= entry["first_token_ms"] <= entry["ms"], "the times do not fit"
    assert entry["time"].endswith("Z")
    assert len(entry["time"]) == len("2026-11-25T10:00:00.000Z")


async def test_lines_are_written_in_batches_by_a_timer(path: Path) -> None:
    """A request waits for no disk; what it leaves is there a moment later."""
    written = asyncio.Event()

    class ObservedLog(AccessLog):
        def flush(self) -> None:
            super().flush()
            written.set()

    log = ObservedLog(path, flush_every_s=0.01)
    log("one")
    log("two")
    assert not lines_of(path), "a request was held up by the disk"
    async with asyncio.timeout(scaled(5)):
        await written.wait()
    assert lines_of(path) == ["one", "two"]
    assert mode_of(path) == 0o600, "others can read it"
    log("three")
    log.flush()
    assert lines_of(path) == ["one", "two", "three"], "the end loses lines"


async def test_a_flood_is_written_before_it_fills_the_memory(path: Path) -> None:
    """However long the timer takes, few lines are held."""
    log = AccessLog(path, flush_every_s=1000)
    for number in range(5000):
        log(str(number))
        assert log.pending <= 1024, "lines pile up"
    log.flush()
    assert lines_of(path) == [str(number) for number in range(5000)]


async def test_a_large_file_is_rotated_with_one_backup(path: Path) -> None:
    """The disk use is bounded, whatever comes."""
    log = AccessLog(path, flush_every_s=1000, most_bytes=100)
    for number in range(50):
        log(f"{number:09}")
        log.flush()
    backup = backup_path(path)
    before, now = lines_of(backup), lines_of(path)
    assert max(len(before), len(now)) <= 11, "more is kept than the limit"
    assert (before + now)[-1] == f"{49:09}", "the last line is lost"
    assert set(files_of(path.parent)) <= {path, backup}, "strays are left"
    assert backup.match("*.log"), "the state folder would not know it for a log"


@pytest.mark.parametrize("partly", [False, True])
async def test_a_full_disk_harms_no_request(
    path: Path, partly: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines are lost and counted; the next ones are complete once there is space."""
    log = AccessLog(path, flush_every_s=1000)
    log("before")
    log.flush()
    write = os.write

    def full(file: int, batch: Any) -> int:
        if partly:
            return write(file, batch[:3])
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("spicy_avocado_magic.system.rotating_file.os.write", full)
    log("lost")
    log.flush()
    monkeypatch.undo()
    assert log.lost == 1, "the loss is not counted"
    log("after")
    log.flush()
    assert lines_of(path) == ["before", "after"], "half a line stayed"


async def test_a_link_in_its_place_is_not_followed(path: Path, tmp_path: Path) -> None:
    """Nobody makes us write elsewhere."""
    target = tmp_path / "elsewhere"
    link(path, target)
    log = AccessLog(path, flush_every_s=1000)
    log("line")
    log.flush()
    assert not lines_of(target), "the link was followed"
    assert log.lost == 1
