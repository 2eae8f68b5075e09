"""Header filters: an allowlist for requests, hop-by-hop removal for responses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .authorization import Headers
from .error_responses import SERVER_NAME

_FORWARDED: Final = (
    "Accept",
    "Accept-Encoding",
    "User-Agent",
    "anthropic-beta",
    "anthropic-version",
)
"""All request headers that reach the engine, besides those of the body."""

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
"""Response headers about the engine's connection, or about the engine itself."""


def upstream_request_headers(headers: Headers) -> dict[str, str]:
    """Return the request headers that the engine may see.

    An allowlist, so that no key, cookie, origin, forwarding header or method
    override reaches it; headers named in ``Connection`` belong to this hop alone.
    """
    named = _named_by_connection(headers)
    return {
        name: headers[name]
        for name in _FORWARDED
        if name in headers and headers[name].isascii() and name.lower() not in named
    }


def downstream_response_headers(headers: Headers) -> Iterator[tuple[str, str]]:
    """Yield the headers of the engine's response that the client may see."""
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
