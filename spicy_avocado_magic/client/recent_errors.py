"""What went wrong in the life of a service: its parts, and requests that it failed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ..protocol.event_log import EventRecord, read_last_life
from ..protocol.state_folder import StateFolder
from ..system.rotating_file import tail_lines

ERRORS_SHOWN: Final = 5
_REQUESTS_READ: Final = 1000
_OURS: Final = 500
"""The least status that is the service's fault, not its client's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentError:
    """One thing that went wrong, whether or not it was mended since."""

    at: str
    """By the clock of this machine, such as ``2026-11-25 14:03:07``."""
    component: str
    problem: str
    remedy: str
    times: int = 1
    """How often in a row."""


def recent_errors(
    folder: StateFolder, count: int = ERRORS_SHOWN
) -> tuple[RecentError, ...]:
    """Return what went wrong since the service began, the latest last.

    The same one several times in a row is one, with the time of the last.

    Args:
        folder: Of the service.
        count: How many at most.
    """
    life = read_last_life(folder.path)
    since = life[0].time if life else ""
    wrong = [entry for entry in life if entry.error]
    wrong += (entry for entry in _failed_requests(folder) if entry.time >= since)
    return _merged(sorted(wrong, key=lambda entry: entry.time))[-count:]


def _failed_requests(folder: StateFolder) -> Iterator[EventRecord]:
    """Yield the requests of the access log that the service could not answer."""
    for line in tail_lines(folder.log("access"), _REQUESTS_READ):
        try:
            told = json.loads(line)
            if int(told["status"]) < _OURS:
                continue
            request = f"{told['method']} {told['route']}"
            who = [f"{name} {told[name]}" for name in ("model", "key") if told[name]]
            time = str(told["time"])
        except (ValueError, KeyError, TypeError):
            continue
        whose = f" ({', '.join(who)})" if who else ""
        yield EventRecord(
            time=time,
            component="gateway",
            text=f"{request}{whose} was answered with {told['status']}",
            error="RequestFailed",
            remedy="%avocado_logs shows what happened then.",
        )


def _merged(entries: Sequence[EventRecord]) -> tuple[RecentError, ...]:
    found: list[RecentError] = []
    for entry in entries:
        times = 1
        if found and _is_same(found[-1], entry):
            times += found.pop().times
        found.append(
            RecentError(
                at=_when(entry.time),
                component=entry.component,
                problem=entry.text,
                remedy=entry.remedy,
                times=times,
            )
        )
    return tuple(found)


def _is_same(before: RecentError, entry: EventRecord) -> bool:
    return (before.component, before.problem) == (entry.component, entry.text)


def _when(time: str) -> str:
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return "some time"
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
