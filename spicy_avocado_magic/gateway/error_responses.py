"""What the gateway itself answers, in the dialect of whoever asks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from ..protocol.error_shapes import ApiDialect, error_body

SERVER_NAME: Final = "avocado"
"""Stands in place of the library's name and version."""
RETRY_AFTER_S: Final = 5

_RESPONSES: Final = "/v1/responses"


class ErrorResponse(Exception):
    """Ends a request with a status and one sentence that its sender may read.

    Attributes:
        status: The HTTP status.
        message: What is wrong and what to do; holds nothing secret.
        code: OpenAI's machine-readable ``code``, where it has one.
        headers: Further headers of the answer.
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
        """Return the error object that clients of this API understand."""
        return error_body(dialect, self.status, self.message, self.code)

    def event(self, dialect: ApiDialect, route: str) -> bytes:
        """Return the error as the last event of a stream that has begun."""
        body = self.body(dialect)
        if dialect is ApiDialect.NATIVE:
            return json.dumps(body).encode() + b"\n"
        if route == _RESPONSES:
            # ``ResponseErrorEvent``, and the ``error`` for which clients look.
            error = body["error"]
            told = {name: error[name] for name in ("message", "code", "param")}
            body |= {"type": "error", "sequence_number": 0} | told
        elif dialect is ApiDialect.OPENAI:
            return b"data: " + json.dumps(body).encode() + b"\n\n"
        return b"event: error\ndata: " + json.dumps(body).encode() + b"\n\n"

    def response(self, dialect: ApiDialect) -> web.Response:
        """Return the answer in a dialect."""
        return web.Response(
            status=self.status,
            body=json.dumps(self.body(dialect)).encode(),
            content_type="application/json",
            headers=self.headers | {"Server": SERVER_NAME},
        )


def quota_exhausted(tokens: int) -> ErrorResponse:
    """Return the answer to a key whose tokens are spent, which no retry brings back.

    The stock clients retry any 429 but where the header ``x-should-retry`` says not
    to (``_should_retry`` in ``_base_client.py`` of ``openai`` and ``anthropic``).
    """
    return ErrorResponse(
        429,
        f"This key has used all of its {tokens} tokens; ask its owner for a new one.",
        code="insufficient_quota",
        headers={"x-should-retry": "false"},
    )


def engine_failed() -> ErrorResponse:
    """Return the answer while the engine is not tried any more.

    Retried it may be: its owner can bring it up again at any time.
    """
    return ErrorResponse(
        503,
        "The model's engine has failed; whoever runs it has to start it again.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )


def engine_loading() -> ErrorResponse:
    """Return the answer while there is no engine to ask."""
    return ErrorResponse(
        503,
        "The model is still loading; try again in a few seconds.",
        headers={"Retry-After": str(RETRY_AFTER_S)},
    )
