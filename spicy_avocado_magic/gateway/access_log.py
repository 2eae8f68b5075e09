"""The access log: one line of JSON a request, without secrets or prompts."""

from __future__ import annotations

import asyncio
import json
import time
from functools import lru_cache
from pathlib import Path
from typing import Final

from ..system.rotating_file import MAX_BYTES, RotatingFile
from .request_context import RequestContext

_MOST_WAITING: Final = 1024
"""Lines that wait for the next flush; more are written at once."""
_METHOD_CHARS: Final = 20
"""A method may be any word; the rest of a longer one tells nothing."""


def format_access_line(exchange: RequestContext, sent_bytes: int) -> str:
    """Return one line of the access log; it is plain ASCII, controls escaped.

    It holds nothing that a stranger wrote but the method: no target, no header.

    Args:
        exchange: What is known of the request.
        sent_bytes: Bytes sent, head included.
    """
    now = time.time()
    usage, first_s = exchange.usage, exchange.time_to_first_token_s
    return json.dumps(
        {
            "time": f"{_second(int(now))}.{int(now * 1000) % 1000:03d}Z",
            "method": exchange.method[:_METHOD_CHARS],
            "route": exchange.route,
            "status": exchange.status,
            "key": exchange.caller.name if exchange.caller else None,
            "model": exchange.model or None,
            "ms": round((time.monotonic() - exchange.started) * 1000, 1),
            "first_token_ms": None if first_s is None else round(first_s * 1000, 1),
            "tokens_in": usage.tokens_in,
            "tokens_out": usage.tokens_out,
            "is_estimate": usage.is_estimate,
            "bytes": sent_bytes,
            "is_public": exchange.is_public,
        }
    )


@lru_cache(maxsize=1)
def _second(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))


class AccessLog:
    """A file of lines, written in batches so that a request waits for no disk."""

    def __init__(
        self, path: Path, *, flush_every_s: float, most_bytes: int = MAX_BYTES
    ) -> None:
        """Open nothing yet.

        Args:
            path: The file, which only its owner can read.
            flush_every_s: Longest time for which a line is held back.
            most_bytes: Of the file, about; the one before it is kept beside it.
        """
        self._file = RotatingFile(path, most_bytes=most_bytes)
        self._flush_every_s = flush_every_s
        self._waiting: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def lost(self) -> int:
        """Lines that could not be written, such as to a full disk."""
        return self._file.lost

    def __call__(self, line: str) -> None:
        """Take a line, without line end; must be called inside a running loop."""
        self._waiting.append(line)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._flush_every_s, self.flush)
        if len(self._waiting) >= _MOST_WAITING:
            self.flush()

    def flush(self) -> None:
        """Write what waits; lines that cannot be written are lost, and no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._waiting = self._waiting, []
        self._file.append(lines)
