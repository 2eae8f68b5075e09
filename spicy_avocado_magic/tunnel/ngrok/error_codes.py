"""What ngrok's error codes mean to a user: code → error class, problem, remedy.

The codes are at https://ngrok.com/docs/errors; each has a page of its own. Whether
the Free plan pools is told both ways (yes, three endpoints, in docs/pricing-limits; no
in docs/universal-gateway/endpoint-pooling); where it does not, agents were answered
18019 (https://github.com/ngrok/ngrok-operator/issues/645).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from ...errors import (
    AvocadoError,
    EndpointInUse,
    EndpointUnavailable,
    InvalidToken,
    NetworkUnreachable,
    TrafficPolicyRejected,
    TunnelFailed,
    UserActionRequired,
)
from ...system.redaction import strip_control_chars

_CODE: Final = re.compile(r"ERR_NGROK_(\d+)")
_SESSIONS: Final = re.compile(r"limited to (\d+)")
_TOKEN: Final = re.compile(r"(your authtoken:\s*)[^\s\\\"']+", re.IGNORECASE)
_NETWORK: Final = re.compile(
    r"failed to dial|dial tcp|no such host|name resolution|name or service|"
    r"network is unreachable|connection refused|i/o timeout|x509|urlopen error",
    re.IGNORECASE,
)
_LONGEST_SHOWN: Final = 300
_POLICY_CODES: Final = frozenset({*range(2200, 2300), 9026, 15004, 15015})
"""Of a Traffic Policy that is invalid, or that the plan or the token does not allow."""

_DASHBOARD: Final = "dashboard.ngrok.com/get-started/your-authtoken"
_RERUN: Final = "Run %avocado_up again; %avocado_status shows each part."
_RETRIED: Final = "It is tried again by itself; %avocado_status shows how it goes."
_UPGRADE: Final = "upgrade at dashboard.ngrok.com/billing."
_MONTH: Final = f"Wait for the next month, or {_UPGRADE}"

ERRORS_BY_CODE: Final[dict[int, tuple[type[AvocadoError], str, str]]] = {
    105: (
        InvalidToken,
        "The ngrok token is malformed",
        f"Paste the Authtoken from {_DASHBOARD}, not an API key.",
    ),
    106: (
        InvalidToken,
        "The ngrok token is of an old kind that is no longer accepted",
        f"Copy the current Authtoken from {_DASHBOARD}.",
    ),
    107: (
        InvalidToken,
        "The ngrok token was revoked or reset",
        f"Copy the Authtoken again from {_DASHBOARD}.",
    ),
    108: (
        EndpointInUse,
        "This ngrok account already runs as many agents as it may",
        "End the other notebook's, or a stale one at dashboard.ngrok.com/agents.",
    ),
    121: (
        UserActionRequired,
        "The ngrok agent is too old for the service",
        "Delete the ngrok program of this machine; the next run fetches a new one.",
    ),
    123: (
        InvalidToken,
        "The e-mail address of this ngrok account is not verified",
        "Verify it at dashboard.ngrok.com/user/settings, then run the cell again.",
    ),
    313: (
        EndpointUnavailable,
        "A domain of your own needs a paid ngrok plan",
        "Leave out --domain to get your account's fixed domain.",
    ),
    314: (
        EndpointUnavailable,
        "A domain of your own needs a paid ngrok plan",
        "Leave out --domain to get your account's fixed domain.",
    ),
    324: (
        EndpointInUse,
        "This ngrok agent already has as many endpoints as it may",
        "Close one of them, then run the cell again.",
    ),
    334: (
        EndpointInUse,
        "This public URL is already online elsewhere",
        "Run %avocado_down there, give another --domain, or --pool in both notebooks.",
    ),
    338: (
        EndpointUnavailable,
        "This ngrok account is suspended",
        "See dashboard.ngrok.com for the reason.",
    ),
    349: (TunnelFailed, "ngrok saw too many new sessions in a short time", _RETRIED),
    702: (TunnelFailed, "ngrok saw too many requests in a minute", _RETRIED),
    725: (EndpointUnavailable, "This month's ngrok bandwidth is used up", _MONTH),
    726: (EndpointUnavailable, "This month's ngrok connections are used up", _MONTH),
    727: (EndpointUnavailable, "This month's ngrok requests are used up", _MONTH),
    3004: (TunnelFailed, "ngrok could not read the gateway's answer", _RERUN),
    3200: (TunnelFailed, "The public URL is offline", _RERUN),
    4018: (
        InvalidToken,
        "ngrok was given no token",
        f"Pass --token with the Authtoken from {_DASHBOARD}.",
    ),
    6030: (
        EndpointUnavailable,
        "Of the endpoints behind this public URL some do not pool",
        "End the others, or start each with %avocado_up --pool.",
    ),
    8012: (TunnelFailed, "The public URL is up, but the gateway is not", _RERUN),
    9009: (
        UserActionRequired,
        "ngrok's free plan does not work through an HTTP proxy",
        "Unset http_proxy and https_proxy, or use a paid plan.",
    ),
    9040: (
        UserActionRequired,
        "ngrok does not serve this network's address",
        "Use another network, or --local for no tunnel.",
    ),
    18019: (
        EndpointUnavailable,
        "This ngrok account's plan has no endpoint pooling",
        "Leave out --pool, or see dashboard.ngrok.com/billing for a plan that has it.",
    ),
    18020: (
        EndpointInUse,
        "This pool has as many endpoints as the ngrok account may pool",
        f"Run %avocado_down in another notebook, or {_UPGRADE}",
    ),
    18021: (
        EndpointInUse,
        "This ngrok account has as many endpoints online as it may",
        f"Run %avocado_down in another notebook, or {_UPGRADE}",
    ),
}


def without_token(text: str) -> str:
    """Return a message of ngrok without the token that 105, 106 and 107 repeat."""
    return _TOKEN.sub(r"\1•••", text)


def code_of(text: str) -> int | None:
    """Return the number of the first ``ERR_NGROK_<number>`` in a text."""
    match = _CODE.search(text)
    return int(match[1]) if match else None


def to_error(text: str, *, log_tail: Sequence[str] = ()) -> AvocadoError:
    """Return the error that a message, log line or body of ngrok stands for."""
    code = code_of(text)
    if code in ERRORS_BY_CODE:
        kind, problem, remedy = ERRORS_BY_CODE[code]
        most = _SESSIONS.search(text) if code == 108 else None  # noqa: PLR2004
        count = f": {most[1]}" if most else ""
        named = f"{problem}{count} (ERR_NGROK_{code})."
        return kind(named, remedy, log_tail=log_tail)
    if code in _POLICY_CODES:
        return TrafficPolicyRejected(
            f"ngrok does not take our rule for requests (ERR_NGROK_{code}).",
            f"See https://ngrok.com/docs/errors/err_ngrok_{code}",
            log_tail=log_tail,
        )
    if code is None and _NETWORK.search(text):
        return NetworkUnreachable(
            "The ngrok service cannot be reached.",
            "Check that this machine has internet access (on Kaggle: Settings → "
            "Internet on), or use --local.",
            log_tail=log_tail,
        )
    shown = " ".join(strip_control_chars(without_token(text)).split())[:_LONGEST_SHOWN]
    more = f"https://ngrok.com/docs/errors/err_ngrok_{code}" if code else ""
    return TunnelFailed(
        f"ngrok says: {shown or 'nothing'}",
        f"See {more}" if more else _RERUN,
        log_tail=log_tail,
    )
