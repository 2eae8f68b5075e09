"""What went wrong in the life of a service, as its flight recorder tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ..flight_recorder import Entry, read_last_life
from ..state_folder import StateFolder

ERRORS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PastError:
    """One thing that went wrong, whether or not it was mended since."""

    at: str
    """By the clock of this machine, such as ``2026-11-25 14:03:07``."""
    component: str
    problem: str
    remedy: str
    times: int = 1
    """How often in a row."""


def last_errors(
    folder: StateFolder, count: int = ERRORS_SHOWN
) -> tuple[PastError, ...]:
    """Return what went wrong since the service began, the latest last.

    The same one several times in a row is one, with the time of the last.

    Args:
        folder: Of the service.
        count: How many at most.
    """
    return _merged([e for e in read_last_life(folder.path) if e.error])[-count:]


def _merged(entries: Sequence[Entry]) -> tuple[PastError, ...]:
    found: list[PastError] = []
    for entry in entries:
        times = 1
        if found and _is_same(found[-1], entry):
            times += found.pop().times
        found.append(
            PastError(
                at=_when(entry.time),
                component=entry.component,
                problem=entry.text,
                remedy=entry.remedy,
                times=times,
            )
        )
    return tuple(found)


def _is_same(before: PastError, entry: Entry) -> bool:
    return (before.component, before.problem) == (entry.component, entry.text)


def _when(time: str) -> str:
    try:
        moment = datetime.fromisoformat(time)
    except ValueError:
        return "some time"
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
