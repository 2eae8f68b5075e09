"""The bounds within which a caller may use memory and time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of the gateway; a caller beyond one is refused."""

    body_bytes: int = 64 * 2**20
    """Of a JSON body, images included; uploads of blobs are not held in memory."""
    body_idle_s: float = 30.0
    """Longest wait for the next bytes of a JSON body."""
    linger_s: float = 1.0
    """For how long a refused body is still read, so that the refusal arrives."""
