"""The flight recorder: what happened to a host and why, one line of JSON an event.

It outlives the host, and holds no secret and no control character.
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
"""A host began; ``facts`` tells version, platform and settings."""
REQUESTED: Final = "called"
"""A kernel asked for something."""
TRANSITIONED: Final = "changed"
"""A stage came to another phase."""
NOTED: Final = "noted"
ENDING: Final = "ending"
"""A host was told to end; ``text`` says why."""
ENDED: Final = "ended"
"""It has, in order."""
CRASHED: Final = "died"
"""It ended without a word; written by its guard, or by who swept up after it."""

_LIFE_ENTRIES: Final = 100_000
"""More than both files hold."""
GUARD: Final = "its guard"
"""Who writes down a death at once; a later call does it when nobody has."""
_MOST_CHARS: Final = 2000
"""Of one text in an entry; a longer one is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """One event."""

    time: str
    """UTC, such as ``2026-11-25T10:00:00.000Z``."""
    offset_s: float = 0.0
    """Seconds since the recorder began, by a clock that is never set."""
    pid: int = 0
    """Of the host, or of whoever wrote about it."""
    number: int = 0
    """Counts the events of one host from 1."""
    component: str = "host"
    what: str = NOTED
    stage: str = ""
    phase: str = ""
    text: str = ""
    """In plain words; for an error, its problem."""
    because: int = 0
    """Number of the event of the same host that led to this one; 0 is none."""
    error: str = ""
    """Kind of the error, where it was one."""
    remedy: str = ""
    after_s: float | None = None
    """Where something became ready: how long that took."""
    lost: int = 0
    """Entries before this one that could not be written."""
    facts: dict[str, Any] = field(default_factory=dict)


class EventLog:
    """Appends events to the recorder's file; never raises, never waits.

    Args:
        path: The file.
        redact: Takes out what must not be seen.
        most_bytes: Of the file, about; one backup is kept beside it.
        clock: Seconds since the epoch.
        monotonic: Seconds of a clock that is never set.
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
        self._number = 0
        self._told_lost = 0
        self.last_call = 0
        """Number of the last event by which somebody wanted something."""

    @property
    def lost(self) -> int:
        """Entries that could not be written, such as to a full disk."""
        return self._file.lost

    def __call__(self, text: str, component: str = "host") -> None:
        """Take a note."""
        self.record(component, NOTED, text)

    def record(
        self,
        component: str,
        what: str,
        text: str = "",
        *,
        step: tuple[str, str] = ("", ""),
        because: int = 0,
        failure: Failure | None = None,
        after_s: float | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> int:
        """Write one event down, and return its number.

        Args:
            component: Of the host, or ``host``.
            what: One of the words above.
            text: In plain words.
            step: A stage and the phase that it has come to.
            because: Number of the event that led to this one.
            failure: What went wrong.
            after_s: How long it took.
            facts: Whatever else is worth knowing; no secrets.
        """
        self._number += 1
        if what in (STARTED, REQUESTED):
            self.last_call = self._number
        lost = self._file.lost - self._told_lost
        entry = {
            "time": utc_text(self._clock()),
            "offset_s": round(self._monotonic() - self._began, 3),
            "pid": os.getpid(),
            "number": self._number,
            "component": component,
            "what": what,
            "stage": step[0],
            "phase": step[1],
            "text": text,
            "because": because,
            "error": failure.kind if failure else "",
            "remedy": failure.remedy if failure else "",
            "after_s": None if after_s is None else round(after_s, 3),
            "lost": lost,
            "facts": dict(facts or {}),
        }
        told = {k: self._plain(v) for k, v in entry.items() if v or k == "offset_s"}
        if self._file.append([json.dumps(told)]):
            self._told_lost += lost
        return self._number

    def _plain(self, value: Any) -> Any:
        """Return a value without secrets, control characters and endless texts."""
        if isinstance(value, str):
            return self._redact(value)[:_MOST_CHARS]
        if isinstance(value, dict):
            return {self._plain(k): self._plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._plain(item) for item in value]
        return value


def record_death(path: Path, ended: Iterable[str], *, by: str) -> None:
    """Write down that a host ended without a word.

    Args:
        path: Of the recorder's file.
        ended: Names of what of it had to be ended.
        by: Who found it out, and ended that.
    """
    facts = {"by": by, "ended": sorted(ended)}
    EventLog(path, Redactor()).record("host", CRASHED, "without a word", facts=facts)


def utc_text(at_s: float) -> str:
    """Return a time as entries hold it: UTC, with milliseconds."""
    second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))
    return f"{second}.{int(at_s * 1000) % 1000:03d}Z"


def read_tail(folder: Path, count: int) -> tuple[EventRecord, ...]:
    """Return the last events in a state folder, oldest first; none is fine.

    Args:
        folder: Path of the state folder, of a host that runs or ran.
        count: How many at most. Lines that cannot be read are passed over.
    """
    lines = tail_lines(folder / FILE_NAME, count)
    return tuple(entry for line in lines if (entry := parse_entry(line)))


def read_last_life(folder: Path) -> tuple[EventRecord, ...]:
    """Return the events of the last host in a state folder, from its start on.

    None is fine; of a very long life the start may be gone.
    """
    entries = read_tail(folder, _LIFE_ENTRIES)
    starts = [i for i, entry in enumerate(entries) if entry.what == STARTED]
    return entries[starts[-1] :] if starts else entries


def parse_entry(line: str) -> EventRecord | None:
    """Return the event in a line; None where there is none."""
    try:
        plain = json.loads(line)
        return from_json(EventRecord, plain | {"facts": dict(plain.get("facts", {}))})
    except (ValueError, TypeError, AttributeError):
        return None


def entry_text(entry: EventRecord) -> str:
    """Return an event in one plain line, without time and component.

    Its number stands first, so that "because of #4" can be followed.
    """
    parts = [entry.stage, entry.phase, entry.text]
    if entry.what not in (TRANSITIONED, NOTED):
        parts.insert(0, entry.what)
    text = f"#{entry.number} " if entry.number and entry.what != CRASHED else ""
    text += ": ".join(part for part in parts if part)
    if entry.after_s is not None:
        text += f", after {entry.after_s:.1f} s"
    if entry.because:
        text += f" (because of #{entry.because})"
    if entry.remedy:
        text += f" → {entry.remedy}"
    if entry.facts:
        text += f" {json.dumps(entry.facts, ensure_ascii=False)}"
    if entry.lost:
        text += f" ({entry.lost} events before it are lost: was the disk full?)"
    return " ".join(strip_control_chars(text).split())
