"""Cancellation of requests when their API key is revoked, expired or used up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .authentication import KeyStore
from .counters import Metrics
from .error_responses import ErrorResponse, quota_used_up
from .request_context import RequestContext

_MIN_WAIT_S: Final = 0.001


def cancel_revoked(metrics: Metrics, keys: KeyStore) -> None:
    """Cancel the open requests with a key that is no longer valid."""
    for context in list(metrics.open):
        if context.caller is not None and not keys.is_valid(context.caller):
            context.cancel(_revoked())


@contextmanager
def cancel_at_expiry(context: RequestContext) -> Iterator[None]:
    """Cancel a request when its key expires by the wall clock."""
    caller = context.caller
    if caller is None or not caller.expires_at:
        yield
        return
    loop = asyncio.get_running_loop()
    timer: asyncio.Handle

    def check() -> None:
        # The loop's clock is another one, and a timer may fire early.
        nonlocal timer
        left_s = caller.expires_at - time.time()
        if left_s > 0:
            timer = loop.call_later(max(left_s, _MIN_WAIT_S), check)
        else:
            context.cancel(_revoked())

    timer = loop.call_soon(check)
    try:
        yield
    finally:
        timer.cancel()


def _revoked() -> ErrorResponse:
    return ErrorResponse(401, "This key is no longer valid.", code="invalid_api_key")


def cancel_over_quota(metrics: Metrics) -> None:
    """Cancel the open requests of keys that have used up their tokens.

    Each request stops at the tokens that were left when it began; only this function
    adds up those that run in parallel.
    """
    running = {
        context.caller
        for context in metrics.open
        if context.caller is not None
        and context.is_counted
        and context.tokens.event_count
    }
    over = {key for key in running if 0 < key.tokens <= metrics.tokens_of(key)}
    for context in list(metrics.open):
        if context.caller in over:
            context.cancel(quota_used_up())
