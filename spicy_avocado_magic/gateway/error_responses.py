"""Error responses of the gateway itself, in the dialect of the client's API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from ..protocol.error_shapes import ApiDialect, error_body

SERVER_NAME: Final = "avocado"
"""``Server`` header, which must not show the library and its version."""
_RETRY_AFTER_S: Final = 5

_RESPONSES: Final = "/v1/responses"


class ErrorResponse(Exception):
    """Exception that becomes an HTTP error response.

    Attributes:
        status: The HTTP status.
        message: What is wrong and what to do, free of secrets.
        code: OpenAI's machine-readable ``code``, where it has one.
        headers: Further headers of the response.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = dict(headers or {})

    def body(self, dialect: ApiDialect) -> dict[str, Any]:
        """Return the error object of this API."""
        return error_body(dialect, self.status, self.message, self.code)

    def event(self, dialect: ApiDialect, route: str) -> bytes:
        """Return the error as the last event of a stream that has begun."""
        body = self.body(dialect)
        if dialect is ApiDialect.NATIVE:
            return json.dumps(body).encode() + b"\n"
        if route == _RESPONSES:
            # ``ResponseErrorEvent``, and the ``error`` for which clients look.
            error = body["error"]
            fields = {name: error[name] for name in ("message", "code", "param")}
            body |= {"type": "error", "sequence_number": 0} | fields
        elif dialect is ApiDialect.OPENAI:
            return b"data: " + json.dumps(body).encode() + b"\n\n"
        return b"event: error\ndata: " + json.dumps(body).encode() + b"\n\n"

    def response(self, dialect: ApiDialect) -> web.Response:
        """Return the HTTP response in a dialect."""
        return web.Response(
            status=self.status,
            body=json.dumps(self.body(dialect)).encode(),
            content_type="application/json",
            headers=self.headers | {"Server": SERVER_NAME},
        )


def quota_exhausted(tokens: int) -> ErrorResponse:
    """Return the 429 for a key without tokens left, which no retry changes.

    The stock clients retry every 429 unless the header ``x-should-retry`` forbids it
    (``_should_retry`` in ``_base_client.py`` of ``openai`` and ``anthropic``).
    """
    return ErrorResponse(
        429,
        f"This key has used all of its {tokens} tokens; ask its owner for a new one.",
        code="insufficient_quota",
        headers={"x-should-retry": "false"},
    )


def quota_used_up() -> ErrorResponse:
    """Return the 429 that ends a response at the end of its key's tokens."""
    return ErrorResponse(429, "This key has used all of its tokens.")


def engine_failed() -> ErrorResponse:
    """Return the 503 for an engine that is not restarted any more.

    Clients may retry: its owner can start it again at any time.
    """
    return retry_later(503, "The model's engine has failed; its owner must restart it.")


def engine_loading() -> ErrorResponse:
    """Return the 503 for an engine that is not ready yet."""
    return retry_later(503, "The model is still loading; try again in a few seconds.")


def retry_later(status: int, message: str, code: str | None = None) -> ErrorResponse:
    """Return an error that asks the client to retry after some seconds."""
    headers = {"Retry-After": str(_RETRY_AFTER_S)}
    return ErrorResponse(status, message, code=code, headers=headers)
