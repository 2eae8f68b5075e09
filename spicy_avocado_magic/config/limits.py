"""The bounds within which callers may use memory, time and the engine."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

from ..errors import UsageError
from ..formatting import did_you_mean
from .timeouts import Timeouts

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)([KMG]?)(?:i?B)?", re.ASCII | re.IGNORECASE)
_UNIT_BYTES: Final = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_TIME: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", re.ASCII)
_LIKE: Final = {"_s": ("90s", "15m"), "_bytes": ("512KB", "32MB")}
_UNIT_S: Final = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

LimitOverrides = tuple[tuple[str, float], ...]
"""Bounds that a user gave, by the names of the fields of ``Limits``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the gateway; a caller beyond one is refused."""

    head_wait_s: float
    """Longest wait for a complete head, from the opening of a connection or from
    the first byte of a further request on it."""
    idle_wait_s: float
    """For how long a connection is kept between two requests."""
    body_wait_s: float
    """Longest wait for the next bytes of a request's body, and for the end of one
    that was refused."""
    silence_s: float
    """Longest time without a byte of the engine's reply."""
    unread_s: float
    """Longest time for which a client may take nothing of what is sent to it."""
    queue_wait_s: float
    """Longest wait for one of the ``concurrent`` places."""
    hold_wait_s: float
    """Longest wait for an engine that is being started."""
    head_bytes: int = 16 * 2**10
    """Of a request's target, and of each line of its head."""
    body_bytes: int = 64 * 2**20
    """Of one body, images included; uploads of blobs are not held in memory."""
    bodies_bytes: int = 256 * 2**20
    """Of all bodies that are held at a time."""
    concurrent: int = 256
    """Requests that the engine works on or has in its own queue."""
    queue: int = 256
    """Requests that wait for one of those places."""
    hold: int = 256
    """Requests that wait for an engine which is being started."""
    rpm: int = 0
    """Requests a minute and key; 0 is without bound."""
    strangers: int = 128
    """Open connections that have not yet shown a valid key."""

    @classmethod
    def from_timeouts(cls, policy: Timeouts, given: LimitOverrides = ()) -> Self:
        """Return the bounds that were given, and the usual ones for the rest."""
        usual = cls(
            head_wait_s=policy.head_wait_s,
            idle_wait_s=policy.idle_wait_s,
            body_wait_s=policy.body_wait_s,
            silence_s=policy.silence_s,
            unread_s=policy.unread_s,
            queue_wait_s=policy.queue_wait_s,
            hold_wait_s=policy.hold_wait_s,
        )
        typed: dict[str, Any] = {n: v if n.endswith("_s") else int(v) for n, v in given}
        return replace(usual, **typed)


_FIELD_BY_NAME: Final = {
    field.name.removesuffix("_s").removesuffix("_bytes").replace("_", "-"): field.name
    for field in fields(Limits)
}
NAMES: Final = tuple(_FIELD_BY_NAME)
"""As users write them: ``body``, ``queue``, ``queue-wait``, …"""


def parse_limits(text: str) -> LimitOverrides:
    """Return the bounds in ``body=32MB,rpm=60,silence=15m``; ``default`` is none.

    Raises:
        UsageError: With the nearest known name, or the form a value has.
    """
    if text == "default":
        return ()
    return tuple(_parse(part.strip()) for part in text.split(","))


def _parse(part: str) -> tuple[str, float]:
    name, _, value = part.partition("=")
    field = _FIELD_BY_NAME.get(name)
    if field is None:
        hint = did_you_mean(name, NAMES, f"Use {', '.join(NAMES)}.", suffix="=…")
        raise UsageError(f"--limit has no {name!r}.", hint)
    number = _number(field, value)
    if number is None or (number < 1 and field not in ("rpm", "queue", "hold")):
        fitting = (like for end, like in _LIKE.items() if field.endswith(end))
        likes = [f"{name}={value}" for value in next(fitting, ("16", "64"))]
        raise UsageError(
            f"--limit {part!r} cannot be.", f"Write it as {' or '.join(likes)}."
        )
    return field, number


def _number(field: str, value: str) -> float | None:
    if field.endswith("_s"):
        time = _TIME.fullmatch(value)
        return float(time[1]) * _UNIT_S[time[2]] if time else None
    if field.endswith("_bytes"):
        size = _SIZE.fullmatch(value)
        return _bytes(float(size[1]), size[2]) if size else None
    return float(value) if value.isascii() and value.isdigit() else None


def _bytes(number: float, unit: str) -> float:
    return float(int(number * _UNIT_BYTES[unit.upper()]))
