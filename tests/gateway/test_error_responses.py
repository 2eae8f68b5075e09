"""The dialects of what the gateway itself says."""

from __future__ import annotations

import json

import pytest

from spicy_avocado_magic.gateway.error_responses import Dialect, Refusal, still_loading


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/messages", Dialect.ANTHROPIC),
        ("/v1/messages/count_tokens", Dialect.ANTHROPIC),
        ("/v1/messagesx", Dialect.OPENAI),
        ("/v1/chat/completions", Dialect.OPENAI),
        ("/api/chat", Dialect.NATIVE),
        ("/", Dialect.NATIVE),
        ("/v1", Dialect.NATIVE),
    ],
)
def test_the_path_tells_the_dialect(path: str, dialect: Dialect) -> None:
    """Each family of clients is answered in its own error shape."""
    assert Dialect.of(path) is dialect, f"{path} is answered in another dialect"


def test_each_dialect_has_its_own_error_object() -> None:
    """The objects are those from which stock clients read the message."""
    refusal = Refusal(401, "No.", code="invalid_api_key")
    assert refusal.body(Dialect.NATIVE) == {"error": "No."}
    assert refusal.body(Dialect.OPENAI) == {
        "error": {
            "message": "No.",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_api_key",
        }
    }
    assert refusal.body(Dialect.ANTHROPIC) == {
        "type": "error",
        "error": {"type": "authentication_error", "message": "No."},
    }


@pytest.mark.parametrize("dialect", list(Dialect))
def test_waiting_for_the_model_is_told_apart_from_no_access(dialect: Dialect) -> None:
    """While there is no engine: 503, when to come back, and that it is loading."""
    response = still_loading().response(dialect)
    assert response.status == 503
    assert int(response.headers["Retry-After"]) > 0, "no time to come back"
    assert isinstance(response.body, bytes)
    assert "still loading" in json.dumps(json.loads(response.body))
    assert response.headers["Server"] == "avocado", "the library's name leaks"
