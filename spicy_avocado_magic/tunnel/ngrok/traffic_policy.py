"""The Traffic Policy by which ngrok's edge refuses requests without any API key.

It is a document in JSON, which is YAML too, passed to the agent as a string
(``traffic_policy`` at https://ngrok.com/docs/agent/api). The action ``custom-response``
and the function ``hasReqHeader``, which requires names in canonical format, are in
https://ngrok.com/docs/traffic-policy. The Free plan allows five rules a policy.

It saves work of this machine and part of the monthly gigabyte: ngrok counts data
"transmitted to a secure tunnel upstream" (docs/pricing-limits/how-ngrok-charges).
``custom-response`` costs no Traffic Policy Units
(docs/pricing-limits/traffic-policy-unit-pricing). It does not save monthly requests:
ngrok counts "traffic from users visiting your endpoints" and makes no exception for
those that a policy answers (same pages, read in 2026-11).
"""

from __future__ import annotations

import json
from typing import Any, Final

from ...protocol.error_shapes import SEND_KEY_HINT, ApiDialect, error_body
from ...protocol.pool import PROBE_HEADER

DENIED_HEADER: Final = "X-Avocado-Edge"
"""Response header of an answer that ngrok's edge gave because of this policy."""

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
"""Of the three APIs, the longest first."""


def require_key_policy() -> str:
    """Return the policy: 401 without a key, with the error body of the path's API.

    Public routes of the gateway, its probes, and requests of web pages pass. Only the
    gateway knows which pages may read a response, and without its CORS headers a page
    sees a failed fetch and no error. Only the gateway checks whether a key is valid.
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
        # A single expression, since plans limit their number (ERR_NGROK_2265).
        "expressions": [f"req.url.path.startsWith('{prefix}') && {_KEYLESS}"],
        "actions": [{"type": "custom-response", "config": reply}],
    }
