"""The stand-in's Traffic Policy: what it applies, and that it refuses the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from spicy_avocado_magic.rehearsal.fake_ngrok.http1 import Head
from spicy_avocado_magic.rehearsal.fake_ngrok.traffic_policy import (
    InvalidPolicy,
    TrafficPolicy,
    condition,
)


def policy_text(*, rules: int = 1, **changes: Any) -> str:
    """Return a policy of so many like rules, with changes to each."""
    config = {"status_code": 401, "body": "no", "headers": {"x-a": "b"}}
    rule = {
        "expressions": ["!hasReqHeader('Authorization')"],
        "actions": [{"type": "custom-response", "config": config}],
    } | changes
    return json.dumps({"on_http_request": [rule] * rules})


def request(line: str = "GET / HTTP/1.1", *headers: str) -> Head:
    """Return the head of a request."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return Head.parse(f"{line}\r\n{lines}\r\n".encode())


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("hasReqHeader('X-Api-Key')", True),
        ("!hasReqHeader('X-Api-Key')", False),
        ("hasReqHeader('Authorization')", False),
        ("req.method == 'POST'", True),
        ("!(req.method in ['GET', 'HEAD'])", True),
        ("req.url.path == '/a!b&&c'", True),
        ("req.url.path.startsWith('/a')", True),
        ("req.url.path.startsWith('/b') || req.method == 'POST'", True),
        ("req.url.path.startsWith('/b') && req.method == 'POST'", False),
        ("!(hasReqHeader('X-Api-Key') && req.method == 'GET')", True),
    ],
)
def test_an_expression_is_evaluated(expression: str, holds: bool) -> None:
    """Header names without case, the path without its query."""
    head = request("POST /a!b&&c?d=e HTTP/1.1", "x-API-key: k")
    assert bool(condition(expression)(head)) is holds


@pytest.mark.parametrize(
    "expression",
    [
        "hasReqHeader('x-api-key')",
        "getReqHeader('Authorization')[0] == 'x'",
        "req.headers == 'x'",
        "req.url.path.matches('/a.*')",
        "!req.method == 'GET'",
        "req.method != 'GET'",
        "size(req.method) > 3",
        "__import__('os')",
        "req.method ==",
        "",
    ],
)
def test_what_is_not_known_is_invalid(expression: str) -> None:
    """Nothing passes for tested that the stand-in cannot apply."""
    with pytest.raises(InvalidPolicy):
        condition(expression)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: [",
        "on_tcp_connect: []",
        '{"on_http_request": [], "on_http_response": []}',
        policy_text(actions=[{"type": "deny", "config": {}}]),
        policy_text(actions=[]),
        policy_text(expressions=["nonsense"]),
        policy_text(name="a rule"),
        policy_text(
            actions=[
                {
                    "type": "custom-response",
                    "config": {"status_code": 1, "body": "", "headers": {}},
                }
            ]
        ),
    ],
)
def test_a_policy_that_cannot_be_applied_is_invalid(text: str) -> None:
    """Unknown phases, actions, fields and statuses are errors at once."""
    with pytest.raises(InvalidPolicy):
        TrafficPolicy.parse(text)


def test_the_first_rule_that_holds_replies() -> None:
    """In YAML or JSON; a request that no rule holds for passes."""
    policy = TrafficPolicy.parse(policy_text())
    assert policy.reply_to(request()) == (
        b"HTTP/1.1 401 Unauthorized\r\nx-a: b\r\nContent-Length: 2\r\n\r\nno"
    )
    assert policy.reply_to(request("GET / HTTP/1.1", "authorization: x")) is None
