"""What an account may not have, in the words of ngrok's service.

A token's own name makes it the token of an account in trouble: ``malformed``,
``revoked``, ``unpooled`` (a plan without endpoint pooling) or ``ruleless`` (a plan
without Traffic Policy).
"""

from __future__ import annotations

import re
from typing import Final

from .traffic_policy import InvalidPolicy, TrafficPolicy

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{20,200}")
_FREE_RULES: Final = 5
"""Rules in a policy (https://ngrok.com/docs/pricing-limits/free-plan-limits)."""


class EndpointRefused(Exception):
    """The service gives no such endpoint, with its reason."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(f"failed to start tunnel: {said}\r\n\r\nERR_NGROK_{code}\r\n")


def refusal(
    token: str, sessions: int, max_sessions: int, *, is_revoked: bool = False
) -> str:
    """Return why a token gets no session, in ngrok's words; empty if it gets one.

    Like the real service, it repeats a token that it refuses.
    """
    if not _TOKEN.fullmatch(token) or "malformed" in token:
        said = f"does not look like a proper ngrok authtoken.\nYour authtoken: {token}"
        why, code = f"The authtoken you specified {said}", 105
    elif is_revoked or "revoked" in token:
        said = f"is properly formed, but it is invalid.\nYour authtoken: {token}"
        why, code = f"The authtoken you specified {said}", 107
    elif sessions >= max_sessions:
        limit = f"limited to {max_sessions} simultaneous ngrok agent sessions."
        why, code = f"Your account is {limit}", 108
    else:
        return ""
    return f"authentication failed: {why}\r\n\r\nERR_NGROK_{code}\r\n"


def require_pooling(token: str) -> None:
    """Refuse a pooled endpoint where the plan has none.

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
    """Return an endpoint's policy; None if it has none.

    Raises:
        EndpointRefused: With 9026 if it is invalid, 15004 if it has too many rules.
    """
    if not text:
        return None
    try:
        policy = TrafficPolicy.parse(text)
    except InvalidPolicy as error:
        said = f"The TrafficPolicy you provided is invalid: {error}"
        raise EndpointRefused(9026, said) from error
    limit = 0 if "ruleless" in token else _FREE_RULES
    if len(policy.rules) > limit:
        raise EndpointRefused(
            15004,
            f"This agent has exceeded its policy rule limit of {limit}. Log into "
            "https://dashboard.ngrok.com/billing to view your options.",
        )
    return policy


def already_online(name: str) -> EndpointRefused:
    """Return why a name is not given to a second one, unless both pool."""
    return EndpointRefused(
        334,
        f"The endpoint '{name}' is already online. Either\n1. stop your existing "
        "endpoint first, or\n2. start both endpoints with `--pooling-enabled` to load "
        "balance between them.",
    )
