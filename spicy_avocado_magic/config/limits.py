"""Limits of the gateway on memory, time and concurrent requests."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

from ..errors import UsageError
from ..formatting import did_you_mean
from .timeouts import RequestTimeouts, Timeouts
from .validators import parse_duration_s, parse_whole_number

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)([KMG]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
_UNIT_BYTES: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_EXAMPLES: Final = {"_s": ("90s", "15m"), "_bytes": ("512KB", "32MB")}
_MAY_BE_ZERO: Final = ("rpm", "queue", "hold")

LimitOverrides = tuple[tuple[str, float], ...]
"""Limits that the user set, by the names of the fields of ``Limits``; settings that an
earlier version stored may have a name as it is typed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits(RequestTimeouts):
    """Limits of the gateway; it refuses or closes what exceeds one."""

    head_bytes: int = 16 * 2**10
    """Of a request's target, and of each line of its header section."""
    body_bytes: int = 64 * 2**20
    """Of one body, images included; uploads of blobs are streamed and exempt."""
    bodies_bytes: int = 256 * 2**20
    """Of all bodies that are held in memory at a time."""
    concurrent: int = 256
    """Requests that the engine works on or has in its own queue."""
    queue: int = 256
    """Requests that wait for one of the ``concurrent`` slots."""
    hold: int = 256
    """Requests that wait for an engine that is starting."""
    rpm: int = 0
    """Requests a minute per key; 0 is unlimited."""
    unauthenticated: int = 128
    """Open connections that have not sent a valid key yet."""

    @classmethod
    def from_timeouts(cls, timeouts: Timeouts, given: LimitOverrides = ()) -> Self:
        """Return the limits that were set, and the defaults for the others."""
        waits = {f.name: getattr(timeouts, f.name) for f in fields(RequestTimeouts)}
        typed: dict[str, Any] = {
            _FIELD_BY_NAME.get(name, name): v if name.endswith("_s") else int(v)
            for name, v in given
        }
        return replace(cls(**waits), **typed)


_TYPED: Final = {"unauthenticated": "strangers"}
_FIELD_BY_NAME: Final = {
    _TYPED.get(
        name, name.removesuffix("_s").removesuffix("_bytes").replace("_", "-")
    ): name
    for name in (field.name for field in fields(Limits))
}
NAMES: Final = tuple(_FIELD_BY_NAME)
"""As users type them: ``body``, ``queue``, ``queue-wait``, …"""


def parse_limits(text: str) -> LimitOverrides:
    """Return the limits in ``body=32MB,rpm=60,silence=15m``; ``default`` is none.

    Raises:
        UsageError: With the nearest known name, or examples of the value.
    """
    if text == "default":
        return ()
    return tuple(_parse(part.strip()) for part in text.split(","))


def _parse(part: str) -> tuple[str, float]:
    name, _, value = part.partition("=")
    field = _FIELD_BY_NAME.get(name)
    if field is None:
        remedy = did_you_mean(name, NAMES, f"Use {', '.join(NAMES)}.", suffix="=…")
        raise UsageError(f"--limit has no {name!r}.", remedy)
    number = _parse_value(field, value)
    if number is None or (number < 1 and field not in _MAY_BE_ZERO):
        fitting = (shown for end, shown in _EXAMPLES.items() if field.endswith(end))
        examples = [f"{name}={shown}" for shown in next(fitting, ("16", "64"))]
        problem = f"cannot be {value!r}" if value else "has no value"
        raise UsageError(
            f"--limit {name} {problem}.",
            f"Write it as {' or '.join(examples)}.",
        )
    return field, number


def _parse_value(field: str, text: str) -> float | None:
    if field.endswith("_s"):
        try:
            return parse_duration_s(text)
        except UsageError:
            return None
    if field.endswith("_bytes"):
        size = _SIZE.fullmatch(text)
        if size is None:
            return None
        return float(int(float(size[1]) * _UNIT_BYTES[size[2].upper()]))
    return parse_whole_number(text)
