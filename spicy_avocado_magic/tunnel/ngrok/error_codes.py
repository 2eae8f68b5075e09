"""ngrok's error codes: code → error class, problem, remedy.

The codes are listed at https://ngrok.com/docs/errors, each with a page of its own. The
documentation contradicts itself on whether the Free plan pools (yes, three endpoints:
docs/pricing-limits; no: docs/universal-gateway/endpoint-pooling). If it does not, the
answer is 18019 (https://github.com/ngrok/ngrok-operator/issues/645).
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
from ...system.network import INTERNET
from ...system.redaction import strip_control_chars

_CODE: Final = re.compile(r"ERR_NGROK_(\d+)")
_SESSION_LIMIT: Final = re.compile(r"limited to (\d+)")
_TOKEN: Final = re.compile(r"(your authtoken:\s*)[^\s\\\"']+", re.IGNORECASE)
_NETWORK: Final = re.compile(
    r"failed to dial|dial tcp|no such host|name resolution|name or service|"
    r"network is unreachable|connection refused|i/o timeout|x509|urlopen error",
    re.IGNORECASE,
)
_MAX_CHARS_SHOWN: Final = 300
_POLICY_CODES: Final = frozenset({*range(2200, 2300), 9026, 15004, 15015})
"""A Traffic Policy is invalid, or the plan or the token does not allow it."""

_DASHBOARD: Final = "dashboard.ngrok.com/get-started/your-authtoken"
_RERUN: Final = "Run %avocado_up again; %avocado_status shows each component."
_RETRIED: Final = "It is retried automatically; %avocado_status shows progress."
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
        "This ngrok account already runs as many agents as its plan allows",
        "End another notebook's, or an old one at dashboard.ngrok.com/agents.",
    ),
    121: (
        UserActionRequired,
        "The ngrok agent is too old for the service",
        "Delete the ngrok program on this machine; the next run downloads a new one.",
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
        "This ngrok agent already has as many endpoints as its plan allows",
        "Close one of them, then run the cell again.",
    ),
    334: (
        EndpointInUse,
        "This public URL is already online elsewhere",
        "Run %avocado_down there, choose another --domain, or use --pool in both.",
    ),
    338: (
        EndpointUnavailable,
        "This ngrok account is suspended",
        "See the reason at dashboard.ngrok.com.",
    ),
    349: (TunnelFailed, "Too many new ngrok sessions in a short time", _RETRIED),
    702: (TunnelFailed, "Too many requests through ngrok in a minute", _RETRIED),
    725: (EndpointUnavailable, "This month's ngrok bandwidth is used up", _MONTH),
    726: (EndpointUnavailable, "This month's ngrok connections are used up", _MONTH),
    727: (EndpointUnavailable, "This month's ngrok requests are used up", _MONTH),
    3004: (TunnelFailed, "ngrok could not read the gateway's response", _RERUN),
    3200: (TunnelFailed, "The public URL is offline", _RERUN),
    4018: (
        InvalidToken,
        "ngrok received no token",
        f"Pass --token with the Authtoken from {_DASHBOARD}.",
    ),
    6030: (
        EndpointUnavailable,
        "Some of the endpoints behind this public URL do not pool",
        "End those, or start each notebook with %avocado_up --pool.",
    ),
    8012: (TunnelFailed, "The public URL is online, but the gateway is not", _RERUN),
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
        "This pool has as many endpoints as the ngrok account allows",
        f"Run %avocado_down in another notebook, or {_UPGRADE}",
    ),
    18021: (
        EndpointInUse,
        "This ngrok account has as many endpoints online as its plan allows",
        f"Run %avocado_down in another notebook, or {_UPGRADE}",
    ),
}


def without_token(text: str) -> str:
    """Return a message of ngrok without the token, which 105, 106 and 107 repeat."""
    return _TOKEN.sub(r"\1•••", text)


def code_of(text: str) -> int | None:
    """Return the number of the first ``ERR_NGROK_<number>`` in a text."""
    match = _CODE.search(text)
    return int(match[1]) if match else None


def to_error(text: str, *, log_tail: Sequence[str] = ()) -> AvocadoError:
    """Return the error for a message, log line or response body of ngrok."""
    code = code_of(text)
    if code in ERRORS_BY_CODE:
        kind, problem, remedy = ERRORS_BY_CODE[code]
        limit = _SESSION_LIMIT.search(text) if code == 108 else None  # noqa: PLR2004
        count = f": {limit[1]}" if limit else ""
        message = f"{problem}{count} (ERR_NGROK_{code})."
        return kind(message, remedy, log_tail=log_tail)
    if code in _POLICY_CODES:
        return TrafficPolicyRejected(
            f"ngrok rejects our Traffic Policy (ERR_NGROK_{code}).",
            f"See https://ngrok.com/docs/errors/err_ngrok_{code}",
            log_tail=log_tail,
        )
    if code is None and _NETWORK.search(text):
        return NetworkUnreachable(
            "The ngrok service cannot be reached.",
            f"{INTERNET} Without a public URL: --local.",
            log_tail=log_tail,
        )
    shown = " ".join(strip_control_chars(without_token(text)).split())[
        :_MAX_CHARS_SHOWN
    ]
    page = f"See https://ngrok.com/docs/errors/err_ngrok_{code}" if code else ""
    return TunnelFailed(
        f"ngrok reports: {shown}" if shown else "ngrok failed without a message.",
        page or _RERUN,
        log_tail=log_tail,
    )
