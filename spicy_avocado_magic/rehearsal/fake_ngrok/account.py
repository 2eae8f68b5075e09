"""Account limits of the stand-in service, in the words of ngrok.

A word in the token selects the error: ``malformed``, ``revoked``, ``unpooled`` (a plan
without endpoint pooling) or ``ruleless`` (a plan without Traffic Policy).
"""

from __future__ import annotations

import re
from typing import Final

from .traffic_policy import InvalidPolicy, TrafficPolicy

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{20,200}")
_FREE_RULES: Final = 5
"""Rules in one policy (https://ngrok.com/docs/pricing-limits/free-plan-limits)."""


class EndpointRefused(Exception):
    """The service refuses an endpoint, with its reason."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(
            f"failed to start tunnel: {message}\r\n\r\nERR_NGROK_{code}\r\n"
        )


def token_error(
    token: str, sessions: int, max_sessions: int, *, is_revoked: bool = False
) -> str:
    """Return ngrok's error for a token; empty if the token gets a session.

    Like the real service, the error repeats the token.
    """
    if not _TOKEN.fullmatch(token) or "malformed" in token:
        problem = "does not look like a proper ngrok authtoken."
        code = 105
    elif is_revoked or "revoked" in token:
        problem = "is properly formed, but it is invalid."
        code = 107
    elif sessions >= max_sessions:
        limit = f"limited to {max_sessions} simultaneous ngrok agent sessions."
        return _authentication_failed(f"Your account is {limit}", 108)
    else:
        return ""
    reason = f"The authtoken you specified {problem}\nYour authtoken: {token}"
    return _authentication_failed(reason, code)


def _authentication_failed(reason: str, code: int) -> str:
    return f"authentication failed: {reason}\r\n\r\nERR_NGROK_{code}\r\n"


def require_pooling(token: str) -> None:
    """Refuse a pooled endpoint for a plan without pooling.

    Raises:
        EndpointRefused: With 18019.
    """
    if "unpooled" in token:
        raise EndpointRefused(
            18019,
            "This account does not have access to Endpoint pooling. Upgrade or switch "
            "to a pay-as-you-go plan for access.",
        )


def read_policy(token: str, text: str) -> TrafficPolicy | None:
    """Return an endpoint's Traffic Policy, or None.

    Raises:
        EndpointRefused: With 9026 if it is invalid, 15004 if it has too many rules.
    """
    if not text:
        return None
    try:
        policy = TrafficPolicy.parse(text)
    except InvalidPolicy as error:
        message = f"The TrafficPolicy you provided is invalid: {error}"
        raise EndpointRefused(9026, message) from error
    limit = 0 if "ruleless" in token else _FREE_RULES
    if len(policy.rules) > limit:
        raise EndpointRefused(
            15004,
            f"This agent has exceeded its policy rule limit of {limit}. Log into "
            "https://dashboard.ngrok.com/billing to view your options.",
        )
    return policy


def already_online(name: str) -> EndpointRefused:
    """Return the error for a name that another endpoint has, unless both pool."""
    return EndpointRefused(
        334,
        f"The endpoint '{name}' is already online. Either\n1. stop your existing "
        "endpoint first, or\n2. start both endpoints with `--pooling-enabled` to load "
        "balance between them.",
    )
