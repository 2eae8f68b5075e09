"""One request on its way through the gateway: what is known of it so far."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Final

from ..protocol.error_shapes import ApiDialect
from ..protocol.usage import TokenUsage
from .authentication import Caller
from .error_responses import ErrorResponse
from .token_usage import TokenCounter

CLIENT_CLOSED_REQUEST: Final = 499
"""Told as status when the client did not wait for the answer (nginx's number)."""
_STREAM_EVENTS: Final = 2
"""A reply with fewer is one object: its first byte tells nothing of a first token."""
_NOTHING: Final = TokenUsage()


@dataclass(slots=True, kw_only=True, eq=False)
class RequestContext:
    """Facts of one request, filled in as it goes; for metrics and the access log.

    Attributes:
        method: Of the request.
        dialect: In which its sender expects errors.
        route: The route's label, never the target itself: that may hold a key.
        caller: Whose key it came with; None for a stranger.
        model: The model it names, in its short form; empty for none.
        status: Of the answer.
        is_public: Whether it came through the tunnel.
        is_counted: Whether it is a use of the service: let in, and no open route.
        started: Monotonic time of the complete head.
        first_byte: Monotonic time of the first byte of the engine's reply.
        stream: The content type of a stream that can end with an error event.
        last_chunk: What was passed on last.
        meter: Counts the tokens of the reply.
        usage: What it has cost, told once it is over.
        tokens_left: To its caller when it began; None is without bound.
        task: Serves it.
        ended: Why we broke it off, if we did.
    """

    method: str
    dialect: ApiDialect = ApiDialect.NATIVE
    route: str = "-"
    caller: Caller | None = None
    model: str = ""
    status: int = CLIENT_CLOSED_REQUEST
    is_public: bool = False
    is_counted: bool = False
    started: float = field(default_factory=time.monotonic)
    first_byte: float | None = None
    stream: str = ""
    last_chunk: bytes = b""
    meter: TokenCounter = field(default_factory=TokenCounter)
    usage: TokenUsage = _NOTHING
    tokens_left: int | None = None
    task: asyncio.Task[object] | None = None
    ended: ErrorResponse | None = None

    def record_chunk(self, chunk: bytes) -> None:
        """Take note of the next bytes of the engine's reply, without keeping them."""
        if self.first_byte is None:
            self.first_byte = time.monotonic()
        self.last_chunk = chunk
        self.meter.feed(chunk)

    @property
    def quota_exceeded(self) -> bool:
        """Whether the reply has cost all the tokens that were left to its caller."""
        return (
            self.tokens_left is not None and self.meter.event_count >= self.tokens_left
        )

    @property
    def time_to_first_token_s(self) -> float | None:
        """How long a stream's first byte took; None where no stream has begun."""
        if self.first_byte is None or self.meter.event_count < _STREAM_EVENTS:
            return None
        return self.first_byte - self.started

    def cancel(self, why: ErrorResponse) -> None:
        """Break it off, whatever it waits for."""
        if self.ended is None and self.task is not None:
            self.ended = why
            self.task.cancel()
