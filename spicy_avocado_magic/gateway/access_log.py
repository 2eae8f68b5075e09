"""Access log: one JSON line for each request, without secrets or prompts."""

from __future__ import annotations

import asyncio
import json
import time
from functools import lru_cache
from pathlib import Path
from typing import Final

from ..system.rotating_file import MAX_BYTES, RotatingFile
from .request_context import RequestContext

_MAX_PENDING: Final = 1024
"""Lines that may wait for the next flush."""
_METHOD_CHARS: Final = 20
"""HTTP allows methods of any length."""


def format_access_line(context: RequestContext, sent_bytes: int) -> str:
    """Return the log line of a request, in ASCII with control characters escaped.

    The method is the only text in it that an unauthenticated client chooses: there is
    no target and no header.

    Args:
        context: The finished request.
        sent_bytes: Bytes sent, headers included.
    """
    now = time.time()
    usage, first_s = context.usage, context.time_to_first_token_s
    return json.dumps(
        {
            "time": f"{_format_second(int(now))}.{int(now * 1000) % 1000:03d}Z",
            "method": context.request.method[:_METHOD_CHARS],
            "route": context.route.label,
            "status": context.status,
            "key": context.caller.name if context.caller else None,
            "model": context.model or None,
            "ms": round((time.monotonic() - context.started) * 1000, 1),
            "first_token_ms": None if first_s is None else round(first_s * 1000, 1),
            "tokens_in": usage.tokens_in,
            "tokens_out": usage.tokens_out,
            "is_estimate": usage.is_estimate,
            "bytes": sent_bytes,
            "is_public": context.is_public,
        }
    )


@lru_cache(maxsize=1)
def _format_second(at_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at_s))


class AccessLog:
    """Log file written in batches, so that no request waits for the disk."""

    def __init__(
        self, path: Path, *, flush_every_s: float, most_bytes: int = MAX_BYTES
    ) -> None:
        """Remember the path; the first flush creates the file.

        Args:
            path: Of the file, which only its owner can read.
            flush_every_s: Longest time for which a line is buffered.
            most_bytes: Approximate size at which the file is rotated; one backup is
                kept beside it.
        """
        self._file = RotatingFile(path, most_bytes=most_bytes)
        self._flush_every_s = flush_every_s
        self._pending: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def pending(self) -> int:
        """Lines that wait for the next flush."""
        return len(self._pending)

    @property
    def lost(self) -> int:
        """Lines that could not be written, for example to a full disk."""
        return self._file.lost

    def __call__(self, line: str) -> None:
        """Buffer a line without line end; must be called inside a running loop."""
        self._pending.append(line)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._flush_every_s, self.flush)
        if len(self._pending) >= _MAX_PENDING:
            self.flush()

    def flush(self) -> None:
        """Write the buffered lines; count those that cannot be written as lost."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._pending = self._pending, []
        self._file.append(lines)
