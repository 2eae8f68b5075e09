"""Our Traffic Policy, applied by the fake edge."""

from __future__ import annotations

import json

import pytest

from spicy_avocado_magic.gateway.error_responses import ErrorResponse
from spicy_avocado_magic.protocol.error_shapes import ApiDialect
from spicy_avocado_magic.protocol.pool import PROBE_HEADER
from spicy_avocado_magic.rehearsal.fake_ngrok.http1 import Head
from spicy_avocado_magic.rehearsal.fake_ngrok.traffic_policy import TrafficPolicy
from spicy_avocado_magic.tunnel.ngrok.traffic_policy import (
    DENIED_HEADER,
    require_key_policy,
)


def _reply(line: str, *headers: str) -> bytes | None:
    lines = "".join(f"{header}\r\n" for header in headers)
    head = Head.parse(f"{line} HTTP/1.1\r\n{lines}\r\n".encode())
    return TrafficPolicy.parse(require_key_policy()).reply_to(head)


@pytest.mark.parametrize(
    ("line", "headers"),
    [
        ("POST /v1/chat/completions", ["authorization: Bearer wrong"]),
        ("POST /v1/messages", ["x-api-key: k"]),
        ("GET /", []),
        ("HEAD /", []),
        ("GET /api/version", [f"{PROBE_HEADER}: nonce"]),
        ("OPTIONS /v1/chat/completions", []),
        ("POST /v1/chat/completions", ["origin: https://a"]),
    ],
)
def test_requests_with_a_key_or_to_public_routes_pass(
    line: str, headers: list[str]
) -> None:
    """The gateway checks whether a key is valid."""
    assert _reply(line, *headers) is None


@pytest.mark.parametrize(
    ("line", "headers"),
    [
        ("POST /v1/chat/completions", []),
        ("POST /v1/messages", ["Cookie: key"]),
        ("GET /api/version", []),
        ("GET /api/tags", [f"{PROBE_HEADER}: nonce"]),
        ("POST /", []),
        ("GET /anything/else", ["X-Forwarded-For: a"]),
    ],
)
def test_requests_without_a_key_are_denied(line: str, headers: list[str]) -> None:
    """The path does not matter."""
    reply = _reply(line, *headers)
    assert reply is not None
    assert reply.startswith(b"HTTP/1.1 401 ")
    assert DENIED_HEADER.lower().encode() in reply


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models", "/api/chat", "/x"])
def test_the_edge_answers_with_the_same_error_as_the_gateway(path: str) -> None:
    """A client raises the same exception in both cases."""
    reply = _reply(f"GET {path}")
    assert reply is not None
    body = json.loads(reply.partition(b"\r\n\r\n")[2])
    text = "An API key is needed. "
    text += "Send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'"
    refusal = ErrorResponse(401, text, code="invalid_api_key")
    assert body == refusal.body(ApiDialect.of(path))


def test_the_policy_is_within_the_limits_of_the_free_plan() -> None:
    """It has at most five rules, with one expression and one action each."""
    rules = json.loads(require_key_policy())["on_http_request"]
    assert len(rules) <= 5
    for rule in rules:
        assert len(rule["expressions"]) == len(rule["actions"]) == 1
        assert "${" not in json.dumps(rule)
