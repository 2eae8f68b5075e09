"""The rule by which ngrok's own edge turns away requests that carry no key at all.

The text is a Traffic Policy document, JSON being YAML too, which the agent takes as a
string (``traffic_policy`` at https://ngrok.com/docs/agent/api). The action
``custom-response`` and ``hasReqHeader``, which wants names in canonical format, are in
https://ngrok.com/docs/traffic-policy; the Free plan allows five rules a policy.

What it saves is this notebook's work, and of the monthly gigabyte what would have gone
through the tunnel and back: ngrok counts data "transmitted to a secure tunnel upstream"
(docs/pricing-limits/how-ngrok-charges). ``custom-response`` costs no Traffic Policy
Units (docs/pricing-limits/traffic-policy-unit-pricing). Of the monthly requests, ngrok
counts "traffic from users visiting your endpoints" and excepts none that a policy
answers (same pages, read in 2026-11): those turned away here must be taken to count.
"""

from __future__ import annotations

import json
from typing import Any, Final

from ...protocol.error_shapes import SEND_KEY_HINT, ApiDialect, error_body
from ...protocol.pool import PROBE_HEADER

DENIED_HEADER: Final = "X-Avocado-Edge"
"""Response header: this answer came from ngrok's edge, by our rule."""

_KEYLESS: Final = " && ".join(
    (
        "!hasReqHeader('Authorization')",
        "!hasReqHeader('X-Api-Key')",
        "!(req.method == 'OPTIONS')",
        "!hasReqHeader('Origin')",
        "!(req.url.path == '/' && req.method in ['GET', 'HEAD'])",
        f"!(req.url.path == '/api/version' && hasReqHeader('{PROBE_HEADER}'))",
    )
)
_UNAUTHORIZED: Final = 401
_MESSAGE: Final = f"An API key is needed. {SEND_KEY_HINT}"
_PATH_PREFIXES: Final = ("/v1/messages", "/v1/", "/")
"""Of the three APIs, the longer first."""


def require_key_policy() -> str:
    """Return the policy: without a key, 401 in the dialect of the path.

    Open routes of the gateway, probes of the public URL and whatever browsers send
    for a web page pass: only the gateway knows which pages may read an answer, and
    without its CORS headers theirs see no error but a failed fetch. Whether a key is
    right is for the gateway to say, too.
    """
    rules = [_rule(prefix) for prefix in _PATH_PREFIXES]
    return json.dumps({"on_http_request": rules})


def _rule(prefix: str) -> dict[str, Any]:
    error = error_body(
        ApiDialect.of(prefix), _UNAUTHORIZED, _MESSAGE, "invalid_api_key"
    )
    reply = {
        "status_code": _UNAUTHORIZED,
        "body": json.dumps(error),
        "headers": {
            "content-type": "application/json",
            "www-authenticate": "Bearer",
            DENIED_HEADER.lower(): "denied",
        },
    }
    return {
        # One expression: plans also limit how many a rule may have (ERR_NGROK_2265).
        "expressions": [f"req.url.path.startsWith('{prefix}') && {_KEYLESS}"],
        "actions": [{"type": "custom-response", "config": reply}],
    }
