"""What is told of a host that is no more."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from spicy_avocado_magic.client import last_exit
from spicy_avocado_magic.client.last_exit import describe_exit
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


def at(minute: int, what: str, text: str = "", **facts: object) -> EventRecord:
    """Return an event at a minute past eleven, UTC."""
    moment = f"2026-11-25T11:{minute:02}:00.000Z"
    return EventRecord(time=moment, pid=42, what=what, text=text, facts=facts)


@pytest.fixture(autouse=True)
def utc() -> Iterator[None]:
    """Tell times of day as in Greenwich."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_a_killed_host_is_told_with_the_guards_time_and_what_it_ended() -> None:
    """The guard saw it, whoever else found it out before."""
    later = at(6, CRASHED, by="a later call", ended=["engine"])
    seen = at(5, CRASHED, by=GUARD, ended=["agent", "engine"])
    text = describe_exit([START, LAST, later, seen], "boot-a")
    assert "(pid 41) was killed at 2026-11-25 11:05:00" in text
    assert "1 h 5 min after its start" in text
    assert "its guard then ended agent, engine" in text


def test_a_death_that_nobody_saw_is_told_as_such() -> None:
    """Who finds a dead host knows no more than that it was earlier."""
    died = at(6, CRASHED, by="a later call", ended=[])
    text = describe_exit([START, LAST, died], "boot-a")
    assert "was killed before 2026-11-25 11:06:00" in text
    assert "ended nothing" in text
    assert "while" not in text
    ending = at(5, ENDING, "told to")
    text = describe_exit([START, ending, died], "boot-a")
    assert "was killed while it was ending" in text


def test_an_orderly_end_is_told_with_its_reason() -> None:
    """By ``--ttl``, by its owner's end, by a signal."""
    text = describe_exit([START, LAST, at(5, ENDED, "its time to live ran out")], "")
    assert text.endswith("ended at 2026-11-25 11:05:00: its time to live ran out.")


def test_without_any_word_the_machine_tells() -> None:
    """Another boot: the machine went; the same one: all was killed at once."""
    restarted = describe_exit([START, LAST], "boot-b")
    assert "last heard of at 2026-11-25 10:59:00" in restarted
    assert "the machine was restarted" in restarted
    killed = describe_exit([START, LAST], "boot-a")
    assert "was killed, with all that it ran, some time after" in killed
    assert "some time after" in describe_exit([START, LAST], "")


def test_a_life_without_a_start_and_a_time_is_told_all_the_same() -> None:
    """The rotation may have taken the start, and a full disk half a line."""
    died = at(5, CRASHED, by=GUARD, ended=["engine"])
    assert "after the first that is known of it" in describe_exit([LAST, died], "")
    assert describe_exit([EventRecord(time="never")], "")


def test_the_remedy_fits_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead host's key and models come back; an ended one's do not."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert last_exit.last_exit_report(rehearse=True) is None, "there was none"
    folder = StateFolder.find(rehearsal=True)
    record = EventLog(folder.path / FILE_NAME, Redactor())
    record.record("host", STARTED, facts={"start": "boot-a:1"})
    record.record("host", CRASHED, facts={"by": GUARD, "ended": []})
    told = last_exit.last_exit_report(rehearse=True)
    assert told is not None
    assert told.rehearsal
    assert told.text.startswith("Nothing is running. ")
    assert f"(pid {os.getpid()}) was killed" in told.text
    assert "%avocado_up MODEL" in told.text
    folder.desired_state.write_text("{}")
    told = last_exit.last_exit_report(rehearse=True)
    assert told is not None
    assert "%avocado_up starts it anew with its key and models" in told.text
    assert "%avocado_logs" in told.text
