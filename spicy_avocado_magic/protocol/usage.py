"""What an API key may do, and what keys and models have used: shared record fields."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Tokens of one response, or of many."""

    tokens_in: int = 0
    """Of prompts."""
    tokens_out: int = 0
    """Of responses."""
    is_estimate: bool = False
    """Whether the gateway counted some of these tokens itself, one for each content
    event, because the engine reported none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotals(TokenUsage):
    """Requests, and the tokens of their responses."""

    requests: int = 0
    """Authenticated ones; probes and public routes are not counted."""


@dataclass(frozen=True, kw_only=True)  # without slots: ``ApiKeyState`` has two bases
class KeyLimits:
    """An API key's name, limits and permissions."""

    name: str
    """By which it is listed and revoked."""
    rpm: int = 0
    """Requests a minute; 0 is the limit of the service."""
    tokens: int = 0
    """In and out, over the key's lifetime; 0 is unlimited."""
    models: tuple[str, ...] = ()
    """The only ones it may use; empty is all that are served."""
    manage: bool = False
    """Whether it may install, copy and delete models, where the owner's key may."""


def shared_fields(record: object, base: type[TokenUsage | KeyLimits]) -> dict[str, Any]:
    """Return a record's values of the fields of ``base``, as keyword arguments."""
    return {field.name: getattr(record, field.name) for field in fields(base)}
