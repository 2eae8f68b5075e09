"""Reading and following the logs: of all files, by time, across rotation."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from spicy_avocado_magic.client import log_reader
from spicy_avocado_magic.client.log_format import LogLine
from spicy_avocado_magic.client.log_reader import (
    MAX_LINES,
    follow_logs,
    most_recent_state_folder,
    read_logs,
)
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.protocol.event_log import FILE_NAME, TRANSITIONED, EventLog
from spicy_avocado_magic.protocol.state_folder import (
    DaemonRecord,
    StateFolder,
    write_private,
)
from spicy_avocado_magic.system.processes import identify
from spicy_avocado_magic.system.redaction import Redactor
from spicy_avocado_magic.system.rotating_file import backup_path, tail_lines

QUICK = Timeouts().scaled(100)


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    """A state folder without anything in it."""
    return StateFolder(tmp_path)


def engine_line(second: int, text: str) -> str:
    """Return a line as Ollama writes it."""
    return f"time=2027-01-15T08:00:{second:02}.000Z level=INFO msg={text}\n"


def fill(folder: StateFolder) -> None:
    """Write logs of several components, with lines that alternate in time."""
    now = iter(1_800_000_000.0 + n for n in range(0, 40, 10))
    record = EventLog(folder.path / FILE_NAME, Redactor(), clock=lambda: next(now))
    record("begins")
    record.record("engine", TRANSITIONED, "starting")
    record.record("tunnel", TRANSITIONED, "connecting")
    engine = folder.log("engine")
    engine.write_text(engine_line(5, "one") + "runner says\n" + engine_line(15, "two"))
    folder.log("agent").write_text("2027-01-15T08:00:16.000Z t=x lvl=info msg=hello\n")


def texts(lines: list[LogLine]) -> list[str]:
    """Return the last word of each line."""
    return [line.text.split()[-1] for line in lines]


def test_all_logs_are_merged_by_time(folder: StateFolder) -> None:
    """Events, engine and agent."""
    fill(folder)
    assert texts(read_logs(folder)) == [
        *("begins", "msg=one", "says", "starting", "msg=two", "msg=hello", "connecting")
    ]
    assert texts(read_logs(folder, count=2)) == ["msg=hello", "connecting"]


def test_the_lines_of_a_component_are_its_events_and_its_log(
    folder: StateFolder,
) -> None:
    """Later events of other components do not displace them."""
    fill(folder)
    record = EventLog(folder.path / FILE_NAME, Redactor())
    for _ in range(500):
        record("of the host")
    found = read_logs(folder, "engine", 4)
    assert texts(found) == ["msg=one", "says", "starting", "msg=two"]
    assert texts(read_logs(folder, "ngrok")) == ["msg=hello", "connecting"]
    assert read_logs(folder, "gateway") == []


def test_a_clock_set_back_does_not_reorder_a_log(folder: StateFolder) -> None:
    """The lines of one log keep their order."""
    folder.log("engine").write_text(engine_line(50, "one") + engine_line(5, "two"))
    assert texts(read_logs(folder)) == ["msg=one", "msg=two"]


@pytest.mark.parametrize(
    ("component", "hint"),
    [("engin", "Did you mean engine?"), ("tunel", "tunnel"), ("zzz", "Use host, ")],
)
def test_a_misspelt_component_gets_the_closest_match(
    folder: StateFolder, component: str, hint: str
) -> None:
    """The error is raised before anything is read."""
    with pytest.raises(UsageError, match=component) as caught:
        read_logs(folder, component)
    assert hint in caught.value.remedy
    with pytest.raises(UsageError, match=component):
        next(follow_logs(folder, component, 5, QUICK))


@pytest.mark.parametrize("count", [0, -1, MAX_LINES + 1])
def test_a_wrong_count_is_refused(folder: StateFolder, count: int) -> None:
    """Zero, negative and huge ones."""
    with pytest.raises(UsageError, match="cannot be shown"):
        read_logs(folder, count=count)


def test_secrets_of_the_service_are_not_shown(folder: StateFolder) -> None:
    """Even if an engine logs one, or a file with one is cut short."""
    keys = [{"name": "ann", "secret": "key-of-ann-123"}]
    wanted = {"api_key": "owners-key-1", "metrics_token": "scraper-1", "keys": keys}
    write_private(folder.desired_state, json.dumps(wanted))
    agent = json.dumps({"agent": {"authtoken": "token-of-ngrok"}})
    write_private(folder.agent_config, agent)
    all_of_them = "owners-key-1 scraper-1 key-of-ann-123 token-of-ngrok"
    folder.log("engine").write_text(all_of_them + "\n")
    (line,) = read_logs(folder)
    assert line.text == "••• ••• ••• •••"
    write_private(folder.desired_state, '{"api_k')
    assert read_logs(folder), "a cut file hides the logs"


def test_the_folder_is_that_of_the_running_or_of_the_last_service(
    tmp_path: Path,
) -> None:
    """A running service comes before one that was written to later."""
    first, second = (StateFolder(tmp_path / name) for name in ("one", "two"))
    for folder in (first, second):
        folder.path.mkdir()
    assert most_recent_state_folder((first, second)) == first, "with nothing, the first"
    second.log("host").write_text("x")
    assert most_recent_state_folder((first, second)) == second
    me = identify(os.getpid())
    assert me is not None
    first.write_record(DaemonRecord(host=me))
    assert most_recent_state_folder((first, second)) == first


@pytest.fixture
def followed(folder: StateFolder) -> Iterator[LogLine]:
    """Follow the logs of a folder, with the last two lines first."""
    fill(folder)
    lines = follow_logs(folder, "", 2, QUICK)
    assert texts([next(lines), next(lines)]) == ["msg=hello", "connecting"]
    return lines


def add(path: Path, text: str) -> None:
    """Append as a child does."""
    with path.open("a") as file:
        file.write(text)


def test_each_new_line_is_shown_once_and_complete(
    folder: StateFolder, followed: Iterator[LogLine]
) -> None:
    """Half a line is not shown yet."""
    add(folder.log("engine"), engine_line(20, "three") + "time=2027-01-15T08:00:30Z ha")
    assert next(followed).text.endswith("msg=three")
    timer = threading.Timer(0.05, add, (folder.log("engine"), "lf\n"))
    timer.start()
    assert next(followed).text == "time=2027-01-15T08:00:30Z half"
    timer.join()


def test_following_continues_after_rotation_and_a_restart(
    folder: StateFolder, followed: Iterator[LogLine]
) -> None:
    """A file may be moved, truncated or replaced."""
    flight, engine = folder.path / FILE_NAME, folder.log("engine")
    record = EventLog(flight, Redactor())
    record("last of the old file")
    flight.rename(backup_path(flight))
    record("first of the new file")
    assert next(followed).text.endswith("old file")
    assert next(followed).text.endswith("new file")
    engine.write_text("")
    add(engine, engine_line(40, "cut"))
    assert next(followed).text.endswith("msg=cut")
    for log in folder.logs:
        log.unlink()
    add(folder.log("host"), "a new host\n")
    assert next(followed).text == "a new host"


def test_a_line_written_during_the_first_read_is_shown_once(
    folder: StateFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither lost nor repeated."""
    engine = folder.log("engine")
    engine.write_text(engine_line(1, "before"))

    def slowly(path: Path, count: int, *, until_bytes: int | None) -> list[str]:
        if path == engine:
            add(engine, engine_line(2, "meanwhile"))
        return tail_lines(path, count, until_bytes=until_bytes)

    monkeypatch.setattr(log_reader, "tail_lines", slowly)
    lines = follow_logs(folder, "engine", 9, QUICK)
    assert texts([next(lines), next(lines)]) == ["msg=before", "msg=meanwhile"]
    add(engine, engine_line(3, "after"))
    assert texts([next(lines)]) == ["msg=after"]


def test_a_line_without_an_end_does_not_fill_the_memory(
    folder: StateFolder, followed: Iterator[LogLine]
) -> None:
    """It is shown, cut, once it is long."""
    add(folder.log("engine"), "x" * 100_000)
    assert next(followed).text.startswith("xxx")
