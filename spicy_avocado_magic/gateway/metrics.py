"""What went through the gateway: counts, and one line a request."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

from aiohttp.abc import AbstractStreamWriter

CLIENT_LEFT: Final = 499
"""Logged as status when the client did not wait for the answer (nginx's number)."""


@dataclass(slots=True, kw_only=True)
class Metrics:
    """Counts since the gateway was made.

    Attributes:
        requests: Let in with a valid key (all on such routes, under ``--no-auth``);
            probes and the open routes are left out.
        refused: Turned away at the gate: by origin, host, route, method or key.
        in_flight: Let in and not yet answered in full.
        last_tunnel_request: Monotonic time of the last one through the public URL.
    """

    requests: int = 0
    refused: int = 0
    in_flight: int = 0
    last_tunnel_request: float | None = None
    _sent_bytes: int = 0
    _writers: set[AbstractStreamWriter] = field(default_factory=set)

    @property
    def bytes_out(self) -> int:
        """Bytes sent to clients, heads included, those of open streams too."""
        return self._sent_bytes + sum(writer.output_size for writer in self._writers)

    def opened(self, writer: AbstractStreamWriter) -> None:
        """Count what is written here from now on, at no cost a chunk."""
        self._writers.add(writer)

    def closed(self, writer: AbstractStreamWriter) -> None:
        """Keep what was written, let go of the writer."""
        self._writers.discard(writer)
        self._sent_bytes += writer.output_size


def access_line(
    *, method: str, route: str, status: int, elapsed_s: float, sent_bytes: int
) -> str:
    """Return one line of the access log; it is plain ASCII, controls escaped.

    Args:
        method: The request's method.
        route: The route's label, never the target itself: that may hold a key.
        status: The answer's status.
        elapsed_s: Seconds from the complete head to the last byte.
        sent_bytes: Bytes sent, head included.
    """
    return json.dumps(
        {
            "method": method,
            "route": route,
            "status": status,
            "ms": round(elapsed_s * 1000, 1),
            "bytes": sent_bytes,
        }
    )
