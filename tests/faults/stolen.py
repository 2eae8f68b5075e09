"""What others on the same hardware took: no promise in seconds allows for it."""

from __future__ import annotations

from typing import Any

import psutil


class Stolen:
    """The share of the CPU time asked for that was not given (``steal`` of proc(5))."""

    def __init__(self) -> None:
        self._before = psutil.cpu_times()

    def percent(self) -> float:
        """Return the share since the start, in percent; 0 where it is not counted."""
        return stolen_percent(self._before, psutil.cpu_times())


def stolen_percent(before: Any, after: Any) -> float:
    """Return how much of the CPU time asked for between two readings was stolen."""
    spent = {n: getattr(after, n) - getattr(before, n) for n in after._fields}
    at_rest_s = spent.get("idle", 0.0) + spent.get("iowait", 0.0)
    # The time of guests is counted among that of users, too.
    guests_s = spent.get("guest", 0.0) + spent.get("guest_nice", 0.0)
    asked_s = sum(spent.values()) - at_rest_s - guests_s
    return 100 * spent.get("steal", 0.0) / asked_s if asked_s > 0 else 0.0
