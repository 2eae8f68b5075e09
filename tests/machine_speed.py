"""The speed of this machine, measured once a session, and bounds that widen with it.

Every bound of seconds in the tests is meant for the machine on which it was chosen,
with nothing else running. ``scaled`` widens it where Python is slower, or where
others use the cores; it never narrows one.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from typing import Final

VARIABLE: Final = "AVOCADO_TESTS_SLOWDOWN"
"""Holds the measured factor, for the workers and every process that tests start."""
REFERENCE_S: Final = 0.45
"""What ``_WORK`` takes on the machine for which the bounds were chosen: 2 cores of an
Intel Xeon at 2.1 GHz, CPython 3.11, nothing else running."""
_MARGIN: Final = 1.2
"""A short measurement misses part of what a busy neighbour takes from a long run."""
_QUIET: Final = 1.1
"""Measurements of the reference machine itself vary by this much."""
_WORK: Final = """
import asyncio, http.client, json
seen = {}
for i in range(2_000_000):
    seen[i % 997] = str(i * 7 % 1013)
"""


def measure(cores: int | None = None) -> float:
    """Return how many times slower than the reference this machine is, at least 1.

    One process a core starts, imports and counts, all at once: so slow cores, slow
    process starts and busy neighbours are all in the wall time.
    """
    count = cores or os.cpu_count() or 1
    began = time.monotonic()
    children = [
        subprocess.Popen([sys.executable, "-I", "-c", _WORK]) for _ in range(count)
    ]
    for child in children:
        child.wait()
    return slowdown_of(time.monotonic() - began)


def slowdown_of(wall_s: float) -> float:
    """Return the factor for a measured wall time."""
    ratio = wall_s / REFERENCE_S
    return 1.0 if ratio <= _QUIET else round(ratio * _MARGIN, 2)


@functools.cache
def slowdown() -> float:
    """Return the factor of this session, measured by the first process that asks."""
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = str(measure())
    return max(1.0, float(os.environ[VARIABLE]))


def scaled(seconds: float) -> float:
    """Return a bound for waiting, as long as it has to be on this machine."""
    return seconds * slowdown()
