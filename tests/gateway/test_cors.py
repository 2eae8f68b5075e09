"""CORS headers for web pages of other origins."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.gateway.cors import cors_headers, preflight_headers

PAGE = "https://app.example"


@pytest.mark.parametrize("allowed", [(PAGE,), ("*",), ("https://other.example", "*")])
def test_a_page_that_is_named_may_read_the_reply(allowed: tuple[str, ...]) -> None:
    """It gets its own origin back, and caches keep pages apart."""
    headers = cors_headers([PAGE], allowed)
    assert headers["Access-Control-Allow-Origin"] == PAGE
    assert headers["Vary"] == "Origin", "a cache may hand it to another page"
    assert "Retry-After" in headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in headers, "cookies are no key"


@pytest.mark.parametrize(
    ("origins", "allowed"),
    [
        ([PAGE], ()),
        ([PAGE], ("https://other.example",)),
        (["https://app.example.evil.example"], (PAGE,)),
        (["https://evil.example/https://app.example"], (PAGE,)),
        (["http://app.example"], (PAGE,)),
        (["https://app.example:8443"], (PAGE,)),
        (["null"], (PAGE,)),
        ([""], (PAGE,)),
        ([PAGE, PAGE], (PAGE,)),
        ([PAGE, "https://evil.example"], ("*",)),
        ([], ("*",)),
    ],
)
def test_any_other_page_gets_no_cors_headers(
    origins: list[str], allowed: tuple[str, ...]
) -> None:
    """Neither likeness nor a second header makes an origin one that was named."""
    assert not cors_headers(origins, allowed), f"{origins} may read replies"


def test_case_does_not_matter() -> None:
    """Hosts have none; what was allowed is kept in lower case."""
    assert cors_headers(["HTTPS://App.Example"], (PAGE,)), "case matters"


def test_a_preflight_names_the_methods_and_every_clients_headers() -> None:
    """What the browser builds of the stock clients send is allowed."""
    headers = preflight_headers(("GET", "POST"))
    assert headers["Allow"] == "GET, POST, OPTIONS"
    assert headers["Access-Control-Allow-Methods"] == "GET, POST"
    assert int(headers["Access-Control-Max-Age"]) > 0, "each request is asked for"
    allowed = set(headers["Access-Control-Allow-Headers"].split(", "))
    needed = {
        "authorization",
        "content-type",
        "x-api-key",
        "anthropic-version",
        "anthropic-beta",
        "anthropic-dangerous-direct-browser-access",
        "openai-organization",
        "x-stainless-retry-count",
        "x-stainless-helper-method",
        "x-stainless-timeout",
        "ngrok-skip-browser-warning",
    }
    assert needed <= allowed, f"not allowed: {needed - allowed}"
    assert "*" not in allowed, "a star does not cover Authorization"


def test_a_preflight_allows_all_headers_of_stainless_clients() -> None:
    """One header that is missing, and the browser sends nothing at all."""
    headers = preflight_headers(("POST",))["Access-Control-Allow-Headers"].split(", ")
    names = (
        "arch async custom-poll-interval helper helper-method lang os package-version "
        "poll-helper retry-count runtime runtime-version stream-helper timeout"
    )
    missing = {f"x-stainless-{name}" for name in names.split()} - set(headers)
    assert not missing, f"not allowed: {missing}"
