"""Requests that end with the key that they came with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from .exchange import Exchange
from .keyring import Keyring
from .metrics import Metrics
from .refusal import Refusal

_LEAST_S: Final = 0.001


def end_revoked(metrics: Metrics, keyring: Keyring) -> None:
    """End the open requests whose key is not on the ring any more."""
    for exchange in list(metrics.open):
        if exchange.caller is not None and not keyring.has(exchange.caller):
            exchange.end(_revoked())


@contextmanager
def until_expiry(exchange: Exchange) -> Iterator[None]:
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
            exchange.end(_revoked())

    timer = loop.call_soon(look)
    try:
        yield
    finally:
        timer.cancel()


def _revoked() -> Refusal:
    return Refusal(401, "This key is no longer good.", code="invalid_api_key")
