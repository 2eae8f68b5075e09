"""What of a head goes on to the other side."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from spicy_avocado_magic.gateway.headers import (
    downstream_response_headers,
    upstream_request_headers,
)


def test_what_the_engine_sees_of_a_request_is_on_a_list() -> None:
    """No key, cookie, origin, forwarding or override header gets through."""
    sent = CIMultiDict(
        {
            "Host": "x",
            "Origin": "x",
            "Authorization": "Bearer x",
            "X-Api-Key": "x",
            "Cookie": "x",
            "X-Forwarded-For": "x",
            "Forwarded": "x",
            "X-HTTP-Method-Override": "DELETE",
            "Proxy-Authorization": "x",
            "Transfer-Encoding": "chunked",
            "TE": "trailers",
            "Accept": "*/*",
            "User-Agent": "curl",
            "anthropic-version": "2023-06-01",
            "Connection": "close, User-Agent",
        }
    )
    assert upstream_request_headers(sent) == {
        "Accept": "*/*",
        "anthropic-version": "2023-06-01",
    }


def test_a_header_that_cannot_be_passed_on_is_left_out() -> None:
    """Bytes beyond ASCII in a header end in no error."""
    assert upstream_request_headers(
        CIMultiDict({"User-Agent": "\udcff", "Accept": "a"})
    ) == {"Accept": "a"}


def test_what_belongs_to_the_engines_connection_stays_there() -> None:
    """Hop-by-hop headers, CORS headers and the engine's name do not go out."""
    sent = CIMultiDict(
        {
            "Content-Type": "application/x-ndjson",
            "Content-Length": "3",
            "X-Request-Id": "1",
            "Transfer-Encoding": "chunked",
            "Connection": "keep-alive, X-Inner",
            "Keep-Alive": "5",
            "X-Inner": "1",
            "Access-Control-Allow-Origin": "*",
            "Set-Cookie": "a=b",
            "Location": "http://127.0.0.1:11434/",
            "Server": "secret/1.0",
        }
    )
    assert list(downstream_response_headers(sent)) == [
        ("Content-Type", "application/x-ndjson"),
        ("Content-Length", "3"),
        ("X-Request-Id", "1"),
        ("Server", "avocado"),
        ("X-Accel-Buffering", "no"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "Alt-Svc",
        "Date",
        "Keep-Alive",
        "Location",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Server",
        "Set-Cookie",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Via",
        "X-Powered-By",
    ],
)
def test_each_header_about_the_engine_itself_stays_there(name: str) -> None:
    """Whether or not ``ControlClient`` names it."""
    passed = dict(downstream_response_headers(CIMultiDict({name: "inner"})))
    assert "inner" not in passed.values(), f"{name} went out"


def test_the_headers_of_anthropic_features_reach_the_engine() -> None:
    """Both of its headers, in the one spelling."""
    sent = CIMultiDict({"Anthropic-Beta": "a", "Anthropic-Version": "b"})
    assert upstream_request_headers(sent) == {
        "anthropic-beta": "a",
        "anthropic-version": "b",
    }
