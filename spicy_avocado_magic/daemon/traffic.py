"""Traffic statistics of the gateway as fields of the state."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from ..config.api_keys import ANONYMOUS, OWNER, ApiKey
from ..config.settings import Settings
from ..gateway.counters import Metrics, UsageCounter
from ..protocol.state import ApiKeyState, ModelUsage, TrafficStats
from ..protocol.usage import KeyLimits, TokenUsage, UsageTotals, shared_fields


def traffic_fields(
    metrics: Metrics, settings: Settings, *, queued: int, lost_lines: int = 0
) -> dict[str, Any]:
    """Return the fields of the state that change with every request.

    Args:
        metrics: The metrics of the gateway.
        settings: The settings with the API keys.
        queued: Number of requests that wait for the engine.
        lost_lines: Number of access-log lines that could not be written.
    """
    return {
        "requests": metrics.requests,
        "refused": metrics.refused,
        "bytes_out": metrics.bytes_out,
        "traffic": _traffic(metrics, queued, lost_lines),
        "keys": api_key_states(settings, metrics, time.time()),
    }


def _traffic(metrics: Metrics, queued: int, lost_lines: int) -> TrafficStats:
    return TrafficStats(
        in_flight=metrics.in_flight,
        queued=queued,
        lost_lines=lost_lines,
        **shared_fields(metrics.total, TokenUsage),
        tokens_a_second=round(metrics.tokens_a_second, 1),
        first_token_p50_s=metrics.waits.quantile_s(0.5),
        first_token_p95_s=metrics.waits.quantile_s(0.95),
        public_requests=metrics.public_requests,
        public_bytes_out=metrics.public_bytes_out,
        statuses=tuple(sorted(metrics.statuses.items())),
        models=tuple(
            ModelUsage(name=name, **shared_fields(use, UsageTotals))
            for name, use in metrics.models.items()
        ),
    )


def api_key_states(
    settings: Settings, metrics: Metrics, now: float
) -> tuple[ApiKeyState, ...]:
    """Return every key with its usage, the owner's first, without secrets."""
    if settings.no_auth:
        return (_state(ApiKey(name=ANONYMOUS, secret=""), metrics, now),)
    owner = ApiKey(name=OWNER, secret="", manage=settings.manage)
    shown = [
        replace(key, manage=key.manage and settings.manage) for key in settings.keys
    ]
    return tuple(_state(key, metrics, now) for key in (owner, *shown))


def _state(key: ApiKey, metrics: Metrics, now: float) -> ApiKeyState:
    use = metrics.keys.get(key.name, UsageCounter())
    return ApiKeyState(
        **shared_fields(key, KeyLimits),
        expires_in_s=max(0.0, key.expires_at - now) if key.expires_at else None,
        **shared_fields(use, UsageTotals),
        idle_s=None if use.last is None else metrics.clock() - use.last,
    )
