"""The event log: whole lines without secrets or control characters."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from spicy_avocado_magic.protocol.event_log import (
    FILE_NAME,
    NOTED,
    TRANSITIONED,
    EventLog,
    EventRecord,
    entry_text,
    parse_entry,
    read_tail,
)
from spicy_avocado_magic.protocol.state import Failure
from spicy_avocado_magic.system.redaction import Redactor
from spicy_avocado_magic.system.rotating_file import backup_path

SECRET = "token-of-somebody-1234"


def recorder_in(folder: Path, **options: float) -> EventLog:
    """Return a recorder that knows a secret, at a fixed time."""
    most_bytes = int(options.get("most_bytes", 2**20))
    return EventLog(
        folder / FILE_NAME,
        Redactor([SECRET]),
        most_bytes=most_bytes,
        clock=lambda: 1_800_000_000.25,
        monotonic=lambda: 5.0,
    )


def test_an_entry_holds_all_that_a_reader_asks_for(tmp_path: Path) -> None:
    """What is written is what is read, each field of it."""
    record = recorder_in(tmp_path)
    failure = Failure(kind="EngineFailed", problem="It died.", remedy="Wait.")
    record.record("engine", TRANSITIONED, "It died.", failure=failure)
    record.record(
        "engine",
        TRANSITIONED,
        "up again",
        step=("serve", "ready"),
        after_s=0.81,
        facts={"status": -9},
    )
    died, back = read_tail(tmp_path, 10)
    assert (died.error, died.text, died.remedy) == ("EngineFailed", "It died.", "Wait.")
    assert died.time == "2027-01-15T08:00:00.250Z"
    assert (back.stage, back.phase, back.after_s) == ("serve", "ready", 0.81)
    assert back.facts == {"status": -9}
    line = (tmp_path / FILE_NAME).read_text().splitlines()[-1]
    known = {part.name for part in fields(EventRecord)}
    assert set(json.loads(line)) <= known, "a field is written that nobody reads"


def test_neither_secrets_nor_control_characters_get_in(tmp_path: Path) -> None:
    """Wherever they stand, and however long the text is."""
    record = recorder_in(tmp_path)
    evil = f"\x1b[31mred\x1b[0m {SECRET} \x9b\u202e"
    record.record("host", NOTED, evil, facts={"deep": [{"er": evil}]})
    record("x" * 100_000)
    text = (tmp_path / FILE_NAME).read_text()
    assert SECRET not in text, "a secret is on disk"
    assert text.isascii(), "the file holds more than ASCII"
    assert "\\u001b" not in text, "an escape sequence is kept"
    assert len(text) < 5000, "one long word fills the disk"
    shown = entry_text(read_tail(tmp_path, 2)[0])
    assert shown.isprintable(), "the shown line holds control characters"
    assert "red •••" in shown


def test_events_lost_to_a_full_disk_are_counted_in_the_next_one(tmp_path: Path) -> None:
    """Events that cannot be written are counted in the next that can."""
    record = recorder_in(tmp_path / "absent")
    record("lost")
    record("lost, too")
    assert record.lost == 2
    (tmp_path / "absent").mkdir()
    record("written again")
    record("and more")
    first, later = read_tail(tmp_path / "absent", 9)
    assert (first.lost, later.lost) == (2, 0)
    assert "2 earlier events are missing" in entry_text(first)


def test_the_file_is_rotated_and_the_tail_goes_over_both(tmp_path: Path) -> None:
    """A long-running daemon does not fill the disk."""
    record = recorder_in(tmp_path, most_bytes=2000)
    for number in range(200):
        record(f"note {number}")
    path = tmp_path / FILE_NAME
    assert path.stat().st_size < 2500, "the file grows on"
    assert backup_path(path).stat().st_size < 2500, "the backup grows on"
    assert [e.text for e in read_tail(tmp_path, 12)] == [
        f"note {number}" for number in range(188, 200)
    ]


@pytest.mark.parametrize(
    "line",
    ["", "{", "[]", "5", '{"offset_s": 1}', '{"time": 3}', '{"time": "", "facts": 5}'],
)
def test_a_line_that_is_no_entry_is_passed_over(line: str) -> None:
    """What a full disk or another version left does not break the reader."""
    assert parse_entry(line) is None


def test_records_of_an_older_version_are_read() -> None:
    """Fields that this version does not know are ignored."""
    record = parse_entry('{"time": "t", "number": 7, "because": 6, "text": "on CPU"}')
    assert record is not None, "an older line is not read"
    assert record.text == "on CPU"


def test_an_entry_reads_as_a_sentence() -> None:
    """Stage, phase, text, time taken and remedy, in that order."""
    entry = EventRecord(
        time="",
        component="engine",
        what=TRANSITIONED,
        stage="serve",
        phase="ready",
        text="on CPU",
        after_s=0.84,
    )
    assert entry_text(entry) == "serve: ready: on CPU, after 0.8 s"
    note = EventRecord(time="", text="two\nlines", remedy="Do it.")
    assert entry_text(note) == "two lines → Do it."
