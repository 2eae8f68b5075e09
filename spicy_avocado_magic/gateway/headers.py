"""Heads of requests and replies: what of them goes on to the other side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .authorization import Headers
from .error_responses import SERVER_NAME

_PASSED_ON: Final = (
    "Accept",
    "Accept-Encoding",
    "User-Agent",
    "anthropic-beta",
    "anthropic-version",
)
"""All that reaches the engine of a request's head, besides what describes its body."""

_HOP_BY_HOP: Final = frozenset(
    {
        "alt-svc",
        "connection",
        "date",
        "keep-alive",
        "location",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "server",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-powered-by",
    }
)
"""Headers of the engine's reply that are about its own connection, or tell of it."""


def upstream_request_headers(headers: Headers) -> dict[str, str]:
    """Return what the engine may see of a request's head.

    An allowlist, so that no key, cookie, origin, forwarding header or method
    override gets through; what ``ControlClient`` names belongs to this hop alone.
    """
    named = _named_by_connection(headers)
    return {
        name: headers[name]
        for name in _PASSED_ON
        if name in headers and headers[name].isascii() and name.lower() not in named
    }


def downstream_response_headers(headers: Headers) -> Iterator[tuple[str, str]]:
    """Yield what the client may see of the head of the engine's reply."""
    named = _named_by_connection(headers)
    for name, value in headers.items():
        lower = name.lower()
        if lower in _HOP_BY_HOP or lower in named:
            continue
        if not lower.startswith("access-control-"):
            yield name, value
    yield "Server", SERVER_NAME
    yield "X-Accel-Buffering", "no"


def _named_by_connection(headers: Headers) -> frozenset[str]:
    values = headers.getall("Connection", [])
    names = (name.strip().lower() for value in values for name in value.split(","))
    return frozenset(names)
