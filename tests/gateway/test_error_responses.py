"""The dialects of what the gateway itself says."""

from __future__ import annotations

import json

import pytest

from spicy_avocado_magic.gateway.error_responses import (
    ApiDialect,
    ErrorResponse,
    engine_loading,
)


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/v1/messages", ApiDialect.ANTHROPIC),
        ("/v1/messages/count_tokens", ApiDialect.ANTHROPIC),
        ("/v1/messagesx", ApiDialect.OPENAI),
        ("/v1/chat/completions", ApiDialect.OPENAI),
        ("/api/chat", ApiDialect.NATIVE),
        ("/", ApiDialect.NATIVE),
        ("/v1", ApiDialect.NATIVE),
    ],
)
def test_the_path_tells_the_dialect(path: str, dialect: ApiDialect) -> None:
    """Each family of clients is answered in its own error shape."""
    assert ApiDialect.of(path) is dialect, f"{path} is answered in another dialect"


def test_each_dialect_has_its_own_error_object() -> None:
    """The objects are those from which stock clients read the message."""
    refusal = ErrorResponse(401, "No.", code="invalid_api_key")
    assert refusal.body(ApiDialect.NATIVE) == {"error": "No."}
    assert refusal.body(ApiDialect.OPENAI) == {
        "error": {
            "message": "No.",
            "type": "invalid_request_error",
            "param": None,
            "code": "invalid_api_key",
        }
    }
    assert refusal.body(ApiDialect.ANTHROPIC) == {
        "type": "error",
        "error": {"type": "authentication_error", "message": "No."},
    }


@pytest.mark.parametrize("dialect", list(ApiDialect))
def test_waiting_for_the_model_is_told_apart_from_no_access(
    dialect: ApiDialect,
) -> None:
    """While there is no engine: 503, when to come back, and that it is loading."""
    response = engine_loading().response(dialect)
    assert response.status == 503
    assert int(response.headers["Retry-After"]) > 0, "no time to come back"
    assert isinstance(response.body, bytes)
    assert "still loading" in json.dumps(json.loads(response.body))
    assert response.headers["Server"] == "avocado", "the library's name leaks"
