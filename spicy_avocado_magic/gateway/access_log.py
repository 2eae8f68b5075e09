"""The access log: one line of JSON a request, without secrets or prompts."""

from __future__ import annotations

import json
import time

from .exchange import Exchange


def access_line(exchange: Exchange, sent_bytes: int) -> str:
    """Return one line of the access log; it is plain ASCII, controls escaped.

    Args:
        exchange: What is known of the request.
        sent_bytes: Bytes sent, head included.
    """
    elapsed_s = time.monotonic() - exchange.started
    return json.dumps(
        {
            "method": exchange.method,
            "route": exchange.route,
            "status": exchange.status,
            "ms": round(elapsed_s * 1000, 1),
            "bytes": sent_bytes,
        }
    )
