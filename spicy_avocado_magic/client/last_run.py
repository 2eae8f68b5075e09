"""Errors and end of the last run of the service, by its event log and access log."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

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
from ..system.rotating_file import tail_lines
from .launch import candidate_state_folders
from .log_format import AccessRecord, format_local_time, parse_time_s
from .log_reader import most_recent_state_folder

ERRORS_SHOWN: Final = 5
_REQUESTS_READ: Final = 1000
_SERVER_ERROR: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentError:
    """An error of a component, or a request that was answered with a server error."""

    at: str
    """Local time, such as ``2026-11-25 14:03:07``."""
    component: str
    problem: str
    remedy: str
    times: int = 1
    """How often in a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitReport:
    """How the last service ended.

    Attributes:
        text: That nothing runs, how it ended and when, and what to do.
        rehearsal: Whether it was a rehearsal.
    """

    text: str
    rehearsal: bool


def recent_errors(
    folder: StateFolder, count: int = ERRORS_SHOWN
) -> tuple[RecentError, ...]:
    """Return the errors since the service started, the latest last.

    Equal errors in a row are merged, with the time of the last one.

    Args:
        folder: Of the service.
        count: How many at most.
    """
    events = read_last_life(folder.path)
    since = events[0].time if events else ""
    failed = [event for event in events if event.error]
    failed += (event for event in _failed_requests(folder) if event.time >= since)
    failed.sort(key=lambda event: event.time)
    errors = []
    for (component, problem), group in groupby(failed, _component_and_problem):
        *earlier, last = group
        error = RecentError(
            at=_when(last),
            component=component,
            problem=problem,
            remedy=last.remedy,
            times=len(earlier) + 1,
        )
        errors.append(error)
    return tuple(errors[-count:])


def _component_and_problem(event: EventRecord) -> tuple[str, str]:
    return event.component, event.text


def _failed_requests(folder: StateFolder) -> Iterator[EventRecord]:
    for line in tail_lines(folder.log("access"), _REQUESTS_READ):
        request = AccessRecord.parse(line)
        if request is None or request.status < _SERVER_ERROR:
            continue
        names = (("model", request.model), ("key", request.key))
        details = ", ".join(f"{label} {name}" for label, name in names if name)
        yield EventRecord(
            time=request.time,
            component="gateway",
            text=f"{request.method} {request.route}{details and f' ({details})'} "
            f"was answered with {request.status}",
            error="RequestFailed",
            remedy="%avocado_logs shows what happened then.",
        )


def last_exit_report(*, rehearse: bool) -> ExitReport | None:
    """Return how the last service ended; None if no event log is left.

    Args:
        rehearse: Whether to look for a rehearsal only.
    """
    folder = most_recent_state_folder(candidate_state_folders(rehearse=rehearse))
    events = read_last_life(folder.path)
    if not events:
        return None
    return ExitReport(
        text=f"Nothing is running. {describe_exit(events, _boot_id())} "
        f"{_remedy(folder)}",
        rehearsal=folder.path.name == "rehearsal",
    )


def describe_exit(events: Sequence[EventRecord], boot: str) -> str:
    """Return in a sentence or two how a service ended.

    Args:
        events: Of that service, one at least, from its start if that is known.
        boot: Id of the machine's present boot; empty if there is none.
    """
    started = events[0]
    first_of_kind = {event.what: event for event in reversed(events)}
    if ended := first_of_kind.get(ENDED):
        return f"The last service ended at {_when(ended)}: {ended.text}."
    service = f"The last service (pid {started.pid})"
    if crashes := [event for event in events if event.what == CRASHED]:
        # Only the reaper sees the crash itself; others find it out later.
        crash = min(crashes, key=lambda event: event.facts.get("by") != GUARD)
        killed = ", ".join(map(str, crash.facts.get("ended", ()))) or "nothing"
        by = crash.facts.get("by", "another process")
        while_ending = " while it was ending" if ENDING in first_of_kind else ""
        when = "at" if by == GUARD else "before"
        return (
            f"{service} was killed{while_ending} {when} {_when(crash)}, "
            f"{_uptime(started, crash)}; {by} then ended {killed}."
        )
    last = _when(events[-1])
    boot_then = str(started.facts.get("start", "")).partition(":")[0]
    if boot and boot_then and boot_then != boot:
        return f"{service} last logged at {last}; the machine was restarted since."
    return f"{service} was killed, with all its processes, some time after {last}."


def _remedy(folder: StateFolder) -> str:
    if folder.desired_state.exists():
        return (
            "%avocado_up starts it again with its key and models, "
            "%avocado_logs shows what came before."
        )
    return "%avocado_up MODEL starts a service, %avocado_logs shows what came before."


def _boot_id() -> str:
    own = identify(os.getpid())
    return own.start.rpartition(":")[0] if own else ""


def _when(event: EventRecord) -> str:
    return format_local_time(parse_time_s(event.time))


def _uptime(started: EventRecord, crash: EventRecord) -> str:
    uptime_s = (parse_time_s(crash.time) or 0) - (parse_time_s(started.time) or 0)
    since = "its start" if started.what == STARTED else "the first event in its log"
    return f"{format_duration(max(0.0, uptime_s))} after {since}"
