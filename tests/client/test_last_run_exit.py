"""The report of how the last service ended."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spicy_avocado_magic.client.last_run import describe_exit, last_exit_report
from spicy_avocado_magic.protocol.event_log import (
    CRASHED,
    ENDED,
    ENDING,
    FILE_NAME,
    GUARD,
    STARTED,
    EventLog,
    EventRecord,
)
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.system.redaction import Redactor

START = EventRecord(
    time="2026-11-25T10:00:00.000Z", pid=41, what=STARTED, facts={"start": "boot-a:77"}
)
LAST = EventRecord(time="2026-11-25T10:59:00.000Z", pid=41, text="something")


def at(minute: int, kind: str, text: str = "", **facts: object) -> EventRecord:
    """Return an event at a minute past eleven, UTC."""
    moment = f"2026-11-25T11:{minute:02}:00.000Z"
    return EventRecord(time=moment, pid=42, what=kind, text=text, facts=facts)


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    """Set the local time zone to UTC."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_the_report_of_a_crash_has_the_time_and_processes_of_the_reaper() -> None:
    """The reaper saw the crash, even if a later call recorded it first."""
    later = at(6, CRASHED, by="a later call", ended=["engine"])
    seen = at(5, CRASHED, by=GUARD, ended=["agent", "engine"])
    text = describe_exit([START, LAST, later, seen], "boot-a")
    assert "(pid 41) was killed at 2026-11-25 11:05:00" in text
    assert "1 h 5 min after its start" in text
    assert "its guard then ended agent, engine" in text


def test_a_crash_that_was_found_later_has_no_exact_time() -> None:
    """Only the latest possible time is known."""
    died = at(6, CRASHED, by="a later call", ended=[])
    text = describe_exit([START, LAST, died], "boot-a")
    assert "was killed before 2026-11-25 11:06:00" in text
    assert "ended nothing" in text
    assert "while" not in text
    ending = at(5, ENDING, "down")
    text = describe_exit([START, ending, died], "boot-a")
    assert "was killed while it was ending" in text


def test_the_report_of_an_orderly_end_has_its_reason() -> None:
    """Reasons are ``--ttl``, the end of the owner or a signal."""
    text = describe_exit([START, LAST, at(5, ENDED, "its time to live ran out")], "")
    assert text.endswith("ended at 2026-11-25 11:05:00: its time to live ran out.")


def test_without_a_record_of_the_end_the_boot_id_explains_it() -> None:
    """A different id means a restarted machine, the same one a kill of everything."""
    restarted = describe_exit([START, LAST], "boot-b")
    assert "last logged at 2026-11-25 10:59:00" in restarted
    assert "the machine was restarted" in restarted
    killed = describe_exit([START, LAST], "boot-a")
    assert "was killed, with all its processes, some time after" in killed
    assert "some time after" in describe_exit([START, LAST], "")


def test_a_log_without_a_start_or_a_time_still_gives_a_report() -> None:
    """Rotation may have removed the start, and a full disk half a line."""
    died = at(5, CRASHED, by=GUARD, ended=["engine"])
    assert "after the first event in its log" in describe_exit([LAST, died], "")
    assert describe_exit([EventRecord(time="never")], "")


def test_the_remedy_fits_the_files_that_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Key and models come back after a crash, but not after an orderly end."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert last_exit_report(rehearse=True) is None, "there was none"
    folder = StateFolder.find(rehearsal=True)
    record = EventLog(folder.path / FILE_NAME, Redactor())
    record.record("host", STARTED, facts={"start": "boot-a:1"})
    record.record("host", CRASHED, facts={"by": GUARD, "ended": []})
    report = last_exit_report(rehearse=True)
    assert report is not None
    assert report.rehearsal
    assert report.text.startswith("Nothing is running. ")
    assert f"(pid {os.getpid()}) was killed" in report.text
    assert "%avocado_up MODEL" in report.text
    folder.desired_state.write_text("{}")
    report = last_exit_report(rehearse=True)
    assert report is not None
    assert "%avocado_up starts it again with its key and models" in report.text
    assert "%avocado_logs" in report.text
