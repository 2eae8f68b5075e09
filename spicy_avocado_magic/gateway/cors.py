"""CORS headers: which web pages may send requests and read the responses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from ..config.tunnel import TUNNEL

NO_CORS: Final[Mapping[str, str]] = MappingProxyType({})

_STAINLESS: Final = (
    "arch",
    "async",
    "custom-poll-interval",
    "helper",
    "helper-method",
    "lang",
    "os",
    "package-version",
    "poll-helper",
    "retry-count",
    "runtime",
    "runtime-version",
    "stream-helper",
    "timeout",
)
_REQUEST_HEADERS: Final = (
    "accept",
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
    "anthropic-user-profile-id",
    "anthropic-version",
    "anthropic-workspace-id",
    "authorization",
    "content-type",
    "idempotency-key",
    *TUNNEL.request_headers,
    "openai-beta",
    "openai-organization",
    "openai-project",
    "user-agent",
    "x-api-key",
    "x-requested-with",
    *(f"x-stainless-{name}" for name in _STAINLESS),
)
"""Sent by the browser builds of ``openai`` and ``@anthropic-ai/sdk``."""
_READABLE: Final = "Retry-After, X-Avocado-Member"
_PREFLIGHT_MAX_AGE_S: Final = 600


def cors_headers(origins: Sequence[str], allowed: Collection[str]) -> Mapping[str, str]:
    """Return the response headers for an allowed origin, none for any other.

    Args:
        origins: The values of the request's ``Origin`` headers.
        allowed: Origins in lower case, or ``*``.
    """
    if len(origins) != 1 or not {"*", origins[0].lower()} & set(allowed):
        return NO_CORS
    return {
        "Access-Control-Allow-Origin": origins[0],
        "Access-Control-Expose-Headers": _READABLE,
        "Vary": "Origin",
    }


def preflight_headers(methods: Sequence[str]) -> dict[str, str]:
    """Return the headers of a preflight response for a route with these methods."""
    return {
        "Allow": ", ".join((*methods, "OPTIONS")),
        "Access-Control-Allow-Methods": ", ".join(methods),
        "Access-Control-Allow-Headers": ", ".join(_REQUEST_HEADERS),
        "Access-Control-Max-Age": str(_PREFLIGHT_MAX_AGE_S),
    }
