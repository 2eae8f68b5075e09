"""Facts about the tunnel provider that layers above and below it need.

``TUNNEL`` is the only place outside of the provider's folder that knows ngrok; its code
implements ``tunnel.provider``. There is one provider so far, hence no option to choose
one: ``Endpoints.tunnel`` names it, and a second one adds its row here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """The secret by which a provider knows an account.

    Attributes:
        name: What the provider calls it.
        is_required: Whether no tunnel opens without it.
        variable: Its name in a notebook, the environment and secret stores.
        page: Where a user copies it, without ``https://``.
        shape: All that could be one match it; the rest is refused before it is used.
        usual_shape: Those made today match it; an older one may be outdated.
        certain_shape: Only one of them matches; such a text is never shown.
        malformed_code: The provider's own error code for a wrong shape.
        outdated_hint: What the doctor adds where the shape is an old one.
        other_variable: Variable of another secret of the account that users take for
            this one.
        other_prefixes: How the ids of other secrets begin, with what they are.
    """

    name: str
    is_required: bool
    variable: str
    page: str
    shape: re.Pattern[str]
    usual_shape: re.Pattern[str]
    certain_shape: re.Pattern[str]
    malformed_code: str
    outdated_hint: str
    other_variable: str
    other_prefixes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthlyQuota:
    """What a free account may use in a month.

    Attributes:
        requests: From clients, those that the gateway refuses included.
        sent_bytes: Sent to clients.
    """

    requests: int
    sent_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelTraits:
    """What is the same for all tunnels of one provider.

    Attributes:
        name: Key of the provider in ``tunnel.registry``; also a log's other name.
        credential: Must be there before a tunnel is opened.
        domain_variable: Name of ``--domain`` in the body of a cell.
        domain_example: A domain that a user could own there.
        domain_pattern: Its public host names, taken out of bug reports.
        variable_prefix: Of its variables, which no other program is given.
        edge_address: ``host:port`` to which its program connects.
        local_port: Of its program's own page on loopback.
        program_variable: Names a program to use in place of the installed one.
        proxy_remedy: Of a tunnel that fails because of a proxy.
        request_headers: Needed in a request for the answer to be the gateway's.
        idle_cut_s: A response without a byte for this many seconds is cut; keep-alive
            bytes of the gateway come sooner.
        quota: Of the free plan.
    """

    name: str
    credential: Credential
    domain_variable: str
    domain_example: str
    domain_pattern: re.Pattern[str]
    variable_prefix: str
    edge_address: str
    local_port: int
    program_variable: str
    proxy_remedy: str
    request_headers: Mapping[str, str] = field(default_factory=dict)
    idle_cut_s: float
    quota: MonthlyQuota


TUNNEL: Final = TunnelTraits(
    name="ngrok",
    credential=Credential(
        name="authtoken",
        is_required=True,
        variable="NGROK_AUTHTOKEN",
        page="dashboard.ngrok.com/get-started/your-authtoken",
        shape=re.compile(r"[A-Za-z0-9_-]{20,200}"),
        # An id and a secret, as in https://ngrok.com/docs/api.
        usual_shape=re.compile(r"[A-Za-z0-9]{20,40}_[A-Za-z0-9]{15,60}"),
        certain_shape=re.compile(r"[A-Za-z0-9]{20,}_[A-Za-z0-9]{10,}"),
        malformed_code="ERR_NGROK_105",
        outdated_hint="Tokens of ngrok 1 no longer work (ERR_NGROK_106).",
        other_variable="NGROK_API_KEY",
        # https://ngrok.com/docs/api/resources/api-keys and …/credentials
        other_prefixes={"ak_": "an API key's id", "cr_": "a credential's id"},
    ),
    domain_variable="NGROK_DOMAIN",
    domain_example="name.ngrok.app",
    domain_pattern=re.compile(
        r"(?<![\w.-])[\w.-]+\.ngrok(?:-free)?\.(?:app|dev|io|pizza|pro)\b"
    ),
    variable_prefix="NGROK_",
    # https://ngrok.com/docs/gateway/agent/connectivity
    edge_address="connect.ngrok-agent.com:443",
    local_port=4040,
    program_variable="PYNGROK_NGROK_PATH",
    proxy_remedy="If the tunnel fails with ERR_NGROK_9009 (no proxy on this plan), "
    "unset them before %avocado_up, or use --local.",
    # Keeps its warning page for browsers away:
    # https://ngrok.com/docs/errors/err_ngrok_6024
    request_headers={"ngrok-skip-browser-warning": "1"},
    # https://ngrok.com/docs/http/limits
    idle_cut_s=300.0,
    # https://ngrok.com/docs/pricing-limits/free-plan-limits
    quota=MonthlyQuota(requests=20_000, sent_bytes=10**9),
)
"""The provider of public URLs."""
