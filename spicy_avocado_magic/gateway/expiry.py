"""Requests that end with the key that they came with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .exchange import Exchange
from .keyring import Keyring
from .metrics import Metrics
from .refusal import Refusal


def end_revoked(metrics: Metrics, keyring: Keyring) -> None:
    """End the open requests whose key is not on the ring any more."""
    for exchange in list(metrics.open):
        if exchange.caller is not None and not keyring.has(exchange.caller):
            exchange.end(_revoked())


@contextmanager
def until_expiry(exchange: Exchange) -> Iterator[None]:
    """End an exchange at the moment at which its key expires."""
    expires_at = exchange.caller.expires_at if exchange.caller else 0.0
    if not expires_at:
        yield
        return
    left_s = expires_at - time.time()
    loop = asyncio.get_running_loop()
    timer = loop.call_later(left_s, exchange.end, _revoked())
    try:
        yield
    finally:
        timer.cancel()


def _revoked() -> Refusal:
    return Refusal(401, "This key is no longer good.", code="invalid_api_key")
