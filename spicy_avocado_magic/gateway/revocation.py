"""Requests that end with the key that they came with."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .authentication import Caller, KeyStore
from .error_responses import ErrorResponse
from .metrics import Metrics
from .request_context import RequestContext

_LEAST_S: Final = 0.001


def cancel_revoked(metrics: Metrics, keyring: KeyStore) -> None:
    """End the open requests whose key is not on the ring any more."""
    for exchange in list(metrics.open):
        if exchange.caller is not None and not keyring.has(exchange.caller):
            exchange.cancel(_revoked())


@contextmanager
def cancel_at_expiry(exchange: RequestContext) -> Iterator[None]:
    """End an exchange at the moment at which its key expires, by the wall clock."""
    caller = exchange.caller
    if caller is None or not caller.expires_at:
        yield
        return
    loop = asyncio.get_running_loop()
    timer: asyncio.Handle

    def look() -> None:
        # A loop's timer is another clock, and may be early by its resolution.
        nonlocal timer
        left_s = caller.expires_at - time.time()
        if left_s > 0:
            timer = loop.call_later(max(left_s, _LEAST_S), look)
        else:
            exchange.cancel(_revoked())

    timer = loop.call_soon(look)
    try:
        yield
    finally:
        timer.cancel()


def _revoked() -> ErrorResponse:
    return ErrorResponse(401, "This key is no longer good.", code="invalid_api_key")


def cancel_over_quota(metrics: Metrics) -> None:
    """End the open requests of keys which together have used all they had.

    Each request minds what was left when it began; only here are those that run
    side by side added up.
    """
    running: Counter[Caller] = Counter()
    for exchange in metrics.open:
        caller = exchange.caller
        if caller is not None and caller.tokens and exchange.is_counted:
            running[caller] += exchange.meter.event_count
    over = {
        caller
        for caller, counted in running.items()
        if counted and metrics.tokens_of(caller) >= caller.tokens
    }
    for exchange in list(metrics.open):
        if exchange.caller in over:
            exchange.cancel(ErrorResponse(429, "This key has used all of its tokens."))
