"""JSON error bodies of the APIs of OpenAI, Anthropic and Ollama."""

from __future__ import annotations

import enum
import json
from typing import Any, Final

SEND_KEY_HINT: Final = "Send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'"

_ANTHROPIC_TYPES: Final = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
}
_SERVER_ERROR: Final = 500


class ApiDialect(enum.Enum):
    """The API that decides the error shape."""

    NATIVE = "native"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"

    @classmethod
    def of(cls, path: str) -> ApiDialect:
        """Return the dialect of the API under a path."""
        if path == "/v1/messages" or path.startswith("/v1/messages/"):
            return cls.ANTHROPIC
        return cls.OPENAI if path.startswith("/v1/") else cls.NATIVE


def error_shape(
    dialect: ApiDialect, message: str, error_type: str, code: str | None = None
) -> dict[str, Any]:
    """Return an error object from which stock clients make typed exceptions."""
    if dialect is ApiDialect.NATIVE:
        return {"error": message}
    if dialect is ApiDialect.ANTHROPIC:
        return {"type": "error", "error": {"type": error_type, "message": message}}
    error = {"message": message, "type": error_type, "param": None, "code": code}
    return {"error": error}


def error_body(
    dialect: ApiDialect, status: int, message: str, code: str | None = None
) -> dict[str, Any]:
    """Return the error object for an HTTP status; ``code`` is OpenAI's."""
    is_server = status >= _SERVER_ERROR
    if dialect is ApiDialect.ANTHROPIC:
        fallback = "api_error" if is_server else "invalid_request_error"
        return error_shape(dialect, message, _ANTHROPIC_TYPES.get(status, fallback))
    error_type = "server_error" if is_server else "invalid_request_error"
    return error_shape(dialect, message, error_type, code)


def error_message(body: str | bytes) -> str:
    """Return the message of an error body in any of the shapes; empty without one."""
    try:
        error = json.loads(body)["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (LookupError, TypeError, ValueError):
        return ""
