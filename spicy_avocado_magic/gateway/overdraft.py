"""Keys that have used up their tokens with several requests at a time."""

from __future__ import annotations

from collections import Counter

from .keyring import Caller
from .metrics import Metrics
from .refusal import Refusal


def end_overdrawn(metrics: Metrics) -> None:
    """End the open requests of keys which together have used all they had.

    Each request minds what was left when it began; only here are those that run
    side by side added up.
    """
    running: Counter[Caller] = Counter()
    for exchange in metrics.open:
        caller = exchange.caller
        if caller is not None and caller.tokens and exchange.is_counted:
            running[caller] += exchange.meter.counted
    over = {
        caller
        for caller, counted in running.items()
        if counted and metrics.tokens_of(caller) >= caller.tokens
    }
    for exchange in list(metrics.open):
        if exchange.caller in over:
            exchange.end(Refusal(429, "This key has used all of its tokens."))
