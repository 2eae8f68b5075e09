"""Per-request record, filled in from the headers to the access log line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from ..protocol.error_shapes import ApiDialect
from ..protocol.usage import TokenUsage
from .authentication import Caller
from .error_responses import ErrorResponse
from .json_body import UpstreamBody
from .model_allowlist import ModelAllowlist
from .routes import NO_ROUTE, Route
from .token_usage import TokenCounter

CLIENT_CLOSED_REQUEST: Final = 499
"""Status when the client did not wait for the response (nginx's number)."""
_STREAM_EVENTS: Final = 2
"""A response with fewer is one object: its first byte is no first token."""
_NO_MODELS: Final = ModelAllowlist(())
_NO_BODY: Final = UpstreamBody()
_NO_USAGE: Final = TokenUsage()


@dataclass(slots=True, kw_only=True, eq=False)
class RequestContext:
    """One request on its way through the gateway.

    Attributes:
        request: As aiohttp parsed it.
        task: Handles it.
        path: The target for the engine, without path key and query.
        route: Of that path.
        dialect: The API that decides the shape of its errors.
        cors: Headers that every response to it carries.
        caller: Holder of its API key; None before authorization, and on public routes.
        models: The models that the caller may use.
        body: The body for the engine.
        model: Short name of the requested model; empty for none.
        status: Of the response.
        is_public: Whether it came through the tunnel.
        is_counted: Whether it counts as use of the service: it carried a valid key.
        started: Monotonic time of the complete headers.
        first_byte: Monotonic time of the first byte of the engine's response.
        stream_type: Content type of a response that can end with an error event.
        last_chunk: The last bytes passed on.
        tokens: Counts the tokens of the response.
        usage: Tokens of the finished response.
        tokens_left: Of the caller's quota when it began; None is unlimited.
        cancelled_by: The error with which the gateway cancelled it.
    """

    request: web.BaseRequest
    task: asyncio.Task[object] | None = None
    path: str = ""
    route: Route = NO_ROUTE
    dialect: ApiDialect = ApiDialect.NATIVE
    cors: Mapping[str, str] = field(default_factory=dict)
    caller: Caller | None = None
    models: ModelAllowlist = field(default=_NO_MODELS, repr=False)
    body: UpstreamBody = _NO_BODY
    model: str = ""
    status: int = CLIENT_CLOSED_REQUEST
    is_public: bool = False
    is_counted: bool = False
    started: float = field(default_factory=time.monotonic)
    first_byte: float | None = None
    stream_type: str = ""
    last_chunk: bytes = b""
    tokens: TokenCounter = field(default_factory=TokenCounter)
    usage: TokenUsage = _NO_USAGE
    tokens_left: int | None = None
    cancelled_by: ErrorResponse | None = None

    def record_chunk(self, chunk: bytes) -> None:
        """Count the next bytes of the engine's response, without keeping them."""
        if self.first_byte is None:
            self.first_byte = time.monotonic()
        self.last_chunk = chunk
        self.tokens.feed(chunk)

    @property
    def quota_exceeded(self) -> bool:
        """Whether the response has used the tokens that were left to its caller."""
        left = self.tokens_left
        return left is not None and self.tokens.event_count >= left

    @property
    def time_to_first_token_s(self) -> float | None:
        """Seconds until a stream's first byte; None where no stream has begun."""
        if self.first_byte is None or self.tokens.event_count < _STREAM_EVENTS:
            return None
        return self.first_byte - self.started

    def cancel(self, error: ErrorResponse) -> None:
        """Cancel its task; the client receives the error."""
        if self.cancelled_by is None and self.task is not None:
            self.cancelled_by = error
            self.task.cancel()
