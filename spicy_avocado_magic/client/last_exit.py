"""How the last host ended, from what its flight recorder holds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ..formatting import format_duration
from ..protocol.event_log import (
    CRASHED,
    ENDED,
    ENDING,
    GUARD,
    STARTED,
    EventRecord,
    read_last_life,
)
from ..protocol.state_folder import StateFolder
from ..system.processes import identify
from .launch import candidate_state_folders
from .log_reader import most_recent_state_folder


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitReport:
    """What to tell of a host that is no more.

    Attributes:
        text: That nothing runs, how it ended and when, and what to do.
        rehearsal: Whether it was one.
    """

    text: str
    rehearsal: bool


def last_exit_report(*, rehearse: bool) -> ExitReport | None:
    """Return how the last host ended; None if none has left any trace.

    Args:
        rehearse: Whether only a rehearsal is meant.
    """
    folder = most_recent_state_folder(candidate_state_folders(rehearse=rehearse))
    entries = read_last_life(folder.path)
    if not entries:
        return None
    text = (
        f"Nothing is running. {describe_exit(entries, _boot_now())} {_remedy(folder)}"
    )
    return ExitReport(text=text, rehearsal=folder.path.name == "rehearsal")


def describe_exit(entries: Sequence[EventRecord], boot: str) -> str:
    """Return in a sentence or two how a host ended.

    Args:
        entries: Of that host, from its start on if that is known; one at least.
        boot: Names the present run of the machine; empty where nothing does.
    """
    started = entries[0]
    by_what = {entry.what: entry for entry in reversed(entries)}
    if ended := by_what.get(ENDED):
        return f"The last service ended at {_when(ended)}: {ended.text}."
    who = f"The last service (pid {started.pid})"
    if deaths := [entry for entry in entries if entry.what == CRASHED]:
        # Only the guard sees it happen; others find it out later.
        died = min(deaths, key=lambda entry: entry.facts.get("by") != GUARD)
        what = ", ".join(map(str, died.facts.get("ended", ()))) or "nothing"
        by = died.facts.get("by", "another process")
        while_ending = " while it was ending" if ENDING in by_what else ""
        when = "at" if by == GUARD else "before"
        return (
            f"{who} was killed{while_ending} {when} {_when(died)}, "
            f"{_lived(started, died)}; {by} then ended {what}."
        )
    last = _when(entries[-1])
    then = str(started.facts.get("start", "")).partition(":")[0]
    if boot and then and then != boot:
        return f"{who} was last heard of at {last}; the machine was restarted since."
    return f"{who} was killed, with all that it ran, some time after {last}."


def _remedy(folder: StateFolder) -> str:
    if folder.desired_state.exists():
        return (
            "%avocado_up starts it anew with its key and models, "
            "%avocado_logs shows what came before."
        )
    return "%avocado_up MODEL starts a service, %avocado_logs shows what came before."


def _boot_now() -> str:
    me = identify(os.getpid())
    return me.start.rpartition(":")[0] if me else ""


def _when(entry: EventRecord) -> str:
    return _moment(entry).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _lived(started: EventRecord, died: EventRecord) -> str:
    lived = _moment(died) - _moment(started)
    since = "its start" if started.what == STARTED else "the first that is known of it"
    return f"{format_duration(max(0.0, lived.total_seconds()))} after {since}"


def _moment(entry: EventRecord) -> datetime:
    try:
        return datetime.fromisoformat(entry.time)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
