"""Error bodies in the shapes of OpenAI, Anthropic and Ollama."""

from __future__ import annotations

import json

import pytest

from spicy_avocado_magic.protocol.error_shapes import (
    ApiDialect,
    error_body,
    error_message,
    error_shape,
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
def test_the_path_decides_the_dialect(path: str, dialect: ApiDialect) -> None:
    """The clients of each API receive errors in its own shape."""
    assert ApiDialect.of(path) is dialect, f"{path} is answered in another dialect"


def test_each_dialect_has_its_own_error_object() -> None:
    """Stock clients read the message from these objects."""
    bodies = {
        dialect: error_body(dialect, 401, "No.", "invalid_api_key")
        for dialect in ApiDialect
    }
    assert bodies == {
        ApiDialect.NATIVE: {"error": "No."},
        ApiDialect.OPENAI: {
            "error": {
                "message": "No.",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_api_key",
            }
        },
        ApiDialect.ANTHROPIC: {
            "type": "error",
            "error": {"type": "authentication_error", "message": "No."},
        },
    }


@pytest.mark.parametrize(
    ("status", "openai_type", "anthropic_type"),
    [
        (400, "invalid_request_error", "invalid_request_error"),
        (404, "invalid_request_error", "not_found_error"),
        (413, "invalid_request_error", "request_too_large"),
        (429, "invalid_request_error", "rate_limit_error"),
        (503, "server_error", "api_error"),
    ],
)
def test_the_status_decides_the_error_type(
    status: int, openai_type: str, anthropic_type: str
) -> None:
    """A client error and a server error have different types."""
    openai = error_body(ApiDialect.OPENAI, status, "No.")["error"]
    anthropic = error_body(ApiDialect.ANTHROPIC, status, "No.")["error"]
    assert openai["type"] == openai_type
    assert openai["code"] is None, "a code was invented"
    assert anthropic["type"] == anthropic_type


def test_an_engine_may_name_its_own_error_type() -> None:
    """Ollama's types differ from ours, its shapes do not."""
    assert error_shape(ApiDialect.OPENAI, "No.", "api_error") == {
        "error": {"message": "No.", "type": "api_error", "param": None, "code": None}
    }


@pytest.mark.parametrize("dialect", ApiDialect)
def test_the_message_is_read_from_every_dialect(dialect: ApiDialect) -> None:
    """The body itself shows which API it is of."""
    body = json.dumps(error_body(dialect, 500, "It broke."))
    assert error_message(body) == error_message(body.encode()) == "It broke."


@pytest.mark.parametrize(
    "body", ["", "no JSON", "[1]", "{}", "7", '{"error": {}}', "\udcff"]
)
def test_a_body_without_an_error_has_no_message(body: str) -> None:
    """The caller decides what to show then."""
    assert error_message(body) == ""
