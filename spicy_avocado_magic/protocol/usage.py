"""Shared record fields: limits of API keys, and token usage of keys and models."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Token counts of one or more responses."""

    tokens_in: int = 0
    """Prompt tokens."""
    tokens_out: int = 0
    """Response tokens."""
    is_estimate: bool = False
    """Whether the gateway counted some of these tokens itself, one for each content
    event, because the engine reported none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotals(TokenUsage):
    """Number of requests, and the tokens of their responses."""

    requests: int = 0
    """Authenticated requests, without probes and public routes."""


@dataclass(frozen=True, kw_only=True)  # without slots: ``ApiKeyState`` has two bases
class KeyLimits:
    """An API key's name, limits and permissions."""

    name: str
    """Name in lists and for revocation."""
    rpm: int = 0
    """Requests a minute; 0 means the service's own limit."""
    tokens: int = 0
    """Prompt and response tokens over the key's lifetime; 0 means unlimited."""
    models: tuple[str, ...] = ()
    """Models it may use; empty means all that are served."""
    manage: bool = False
    """Whether it may install, copy and delete models if the owner's key may."""


def shared_fields(record: object, base: type[TokenUsage | KeyLimits]) -> dict[str, Any]:
    """Return a record's values for the fields of ``base``, as keyword arguments."""
    return {field.name: getattr(record, field.name) for field in fields(base)}
