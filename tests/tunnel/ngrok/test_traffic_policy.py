"""The rule for the edge, applied by the stand-in's Traffic Policy."""

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
def test_what_has_a_key_or_needs_none_passes(line: str, headers: list[str]) -> None:
    """Whether a key is right is for the gateway to say."""
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
def test_what_has_no_key_is_denied(line: str, headers: list[str]) -> None:
    """By whatever path."""
    reply = _reply(line, *headers)
    assert reply is not None
    assert reply.startswith(b"HTTP/1.1 401 ")
    assert DENIED_HEADER.lower().encode() in reply


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models", "/api/chat", "/x"])
def test_the_edge_speaks_as_the_gateway_does(path: str) -> None:
    """A client has the same typed error, whichever of the two answers."""
    reply = _reply(f"GET {path}")
    assert reply is not None
    told = json.loads(reply.partition(b"\r\n\r\n")[2])
    text = "An API key is needed. "
    text += "Send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'"
    refusal = ErrorResponse(401, text, code="invalid_api_key")
    assert told == refusal.body(ApiDialect.of(path))


def test_the_policy_keeps_within_the_free_plans_limits() -> None:
    """Five rules; one expression and one action a rule; nothing is interpolated."""
    rules = json.loads(require_key_policy())["on_http_request"]
    assert len(rules) <= 5
    for rule in rules:
        assert len(rule["expressions"]) == len(rule["actions"]) == 1
        assert "${" not in json.dumps(rule)
