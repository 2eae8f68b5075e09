"""Event log of the daemon: one line of JSON an event, in ``flight.log``.

It outlives the daemon and holds no secret and no control character.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ..system.redaction import Redactor, strip_control_chars
from ..system.rotating_file import MAX_BYTES, RotatingFile, tail_lines
from .json_codec import from_json
from .state import Failure

FILE_NAME: Final = "flight.log"
STARTED: Final = "started"
"""A daemon started; ``facts`` holds version, platform and settings."""
REQUESTED: Final = "called"
"""A kernel requested something."""
TRANSITIONED: Final = "changed"
"""A stage entered another phase."""
NOTED: Final = "noted"
ENDING: Final = "ending"
"""A daemon is stopping; ``text`` has the reason."""
ENDED: Final = "ended"
"""A daemon has stopped as requested."""
CRASHED: Final = "died"
"""A daemon died; written by its reaper, or by the client that cleaned up."""

_MAX_RECORDS: Final = 100_000
"""More than the file and its backup hold."""
GUARD: Final = "its guard"
"""The reaper as the author of a crash record; a client writes it if it did not."""
_MAX_CHARS: Final = 2000
"""Longest text in a record; the rest is cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One event."""

    time: str
    """UTC, such as ``2026-11-25T10:00:00.000Z``."""
    offset_s: float = 0.0
    """Seconds since the log was opened, by the monotonic clock."""
    pid: int = 0
    """The process that wrote the record."""
    component: str = "host"
    what: str = NOTED
    stage: str = ""
    phase: str = ""
    text: str = ""
    """A sentence for people; for an error, its problem."""
    error: str = ""
    """Class name of the error, or empty."""
    remedy: str = ""
    after_s: float | None = None
    """Seconds that a stage took to become ready."""
    lost: int = 0
    """Number of records before this one that could not be written."""
    facts: dict[str, Any] = field(default_factory=dict)


class EventLog:
    """Writer of the event log; it never raises and never waits.

    Args:
        path: The file.
        redact: Removes secrets.
        most_bytes: Approximate size limit of the file; one backup is kept beside it.
        clock: Seconds since the epoch.
        monotonic: Seconds of the monotonic clock.
    """

    def __init__(
        self,
        path: Path,
        redact: Redactor,
        *,
        most_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = RotatingFile(path, most_bytes=most_bytes)
        self._redact = redact
        self._clock, self._monotonic = clock, monotonic
        self._began = monotonic()
        self._reported_lost = 0

    @property
    def lost(self) -> int:
        """Number of records that could not be written, such as to a full disk."""
        return self._file.lost

    def __call__(self, text: str, component: str = "host") -> None:
        """Write a note."""
        self.record(component, NOTED, text)

    def record(
        self,
        component: str,
        kind: str,
        text: str = "",
        *,
        step: tuple[str, str] = ("", ""),
        failure: Failure | None = None,
        after_s: float | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one record.

        Args:
            component: A component's name, or ``host`` for the daemon itself.
            kind: One of the constants above.
            text: A sentence for people.
            step: A stage and its new phase.
            failure: The error, if it is one.
            after_s: Seconds that it took.
            facts: Further JSON values; no secrets.
        """
        lost = self._file.lost - self._reported_lost
        fields = {
            "time": utc_text(self._clock()),
            "offset_s": round(self._monotonic() - self._began, 3),
            "pid": os.getpid(),
            "component": component,
            "what": kind,
            "stage": step[0],
            "phase": step[1],
            "text": text,
            "error": failure.kind if failure else "",
            "remedy": failure.remedy if failure else "",
            "after_s": None if after_s is None else round(after_s, 3),
            "lost": lost,
            "facts": dict(facts or {}),
        }
        kept = {
            name: self._clean(value)
            for name, value in fields.items()
            if value or name == "offset_s"
        }
        if self._file.append([json.dumps(kept)]):
            self._reported_lost += lost

    def _clean(self, value: Any) -> Any:
        """Return a JSON value without secrets, control characters and long texts."""
        if isinstance(value, str):
            return self._redact(value)[:_MAX_CHARS]
        if isinstance(value, dict):
            return {self._clean(k): self._clean(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._clean(item) for item in value]
        return value


def record_death(path: Path, ended: Iterable[str], *, by: str) -> None:
    """Record that a daemon died.

    Args:
        path: The file of the event log.
        ended: Names of its processes that had to be ended.
        by: The process that found and ended them.
    """
    facts = {"by": by, "ended": sorted(ended)}
    EventLog(path, Redactor()).record("host", CRASHED, "without a word", facts=facts)


def utc_text(at_s: float) -> str:
    """Return seconds since the epoch as UTC text with milliseconds."""
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))
    return f"{second}.{int(at_s * 1000) % 1000:03d}Z"


def read_tail(folder: Path, count: int) -> tuple[EventRecord, ...]:
    """Return the last records in a state folder, oldest first; empty if there are none.

    Args:
        folder: Path of the state folder.
        count: How many at most. Unreadable lines are skipped.
    """
    lines = tail_lines(folder / FILE_NAME, count)
    return tuple(entry for line in lines if (entry := parse_entry(line)))


def read_last_life(folder: Path) -> tuple[EventRecord, ...]:
    """Return the records of the last daemon in a state folder, from its start on.

    The start of a daemon that ran for very long may be rotated away.
    """
    entries = read_tail(folder, _MAX_RECORDS)
    starts = [i for i, entry in enumerate(entries) if entry.what == STARTED]
    return entries[starts[-1] :] if starts else entries


def parse_entry(line: str) -> EventRecord | None:
    """Return the record in a line, or None if the line is unreadable."""
    try:
        fields = json.loads(line)
        return from_json(EventRecord, fields | {"facts": dict(fields.get("facts", {}))})
    except (ValueError, TypeError, AttributeError):
        return None


def entry_text(entry: EventRecord) -> str:
    """Return a record as one line of text, without time and component."""
    parts = [entry.stage, entry.phase, entry.text]
    if entry.what not in (TRANSITIONED, NOTED):
        parts.insert(0, entry.what)
    text = ": ".join(part for part in parts if part)
    if entry.after_s is not None:
        text += f", after {entry.after_s:.1f} s"
    if entry.remedy:
        text += f" → {entry.remedy}"
    if entry.facts:
        text += f" {json.dumps(entry.facts, ensure_ascii=False)}"
    if entry.lost:
        text += f" ({entry.lost} earlier events are missing: was the disk full?)"
    return " ".join(strip_control_chars(text).split())
