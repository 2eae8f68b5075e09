"""The tables of a service's status: models, keys, members, quota, last errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ...config.model_name import model_key
from ...config.tunnel import TUNNEL
from ...formatting import format_bytes, format_duration
from ...protocol.state import (
    ApiKeyState,
    ModelState,
    ModelUsage,
    PoolMember,
    State,
    TrafficStats,
)
from ...system.redaction import strip_control_chars
from .html import columns_table, escape_line, lines_of
from .keys import HEAD as KEYS_HEAD
from .keys import key_cells
from .stages import bar

if TYPE_CHECKING:
    from ...client.last_run import RecentError

_MODELS_SHOWN: Final = 10
_KEYS_SHOWN: Final = 10
_MEMBERS_SHOWN: Final = 10
_MODELS_HEAD: Final = ("model", "state", "on disk", "GPU", "CPU", "requests", "tokens")
_MEMBERS_HEAD: Final = ("member", "models", "answered")
_ERRORS_HEAD: Final = ("when", "part", "what")


def tokens_text(use: ApiKeyState | ModelUsage | TrafficStats) -> str:
    """Return tokens in and out; those that were counted, not told, are marked."""
    about = "≈" if use.is_estimate else ""
    return f"{about}{use.tokens_in} / {about}{use.tokens_out}"


def models_table(state: State) -> str:
    """Return each model with its place in memory, and what it has answered."""
    uses = {model_key(use.name): use for use in state.traffic.models}
    rows = [
        _model_cells(one, uses.pop(model_key(one.name), None)) for one in state.models
    ]
    # Those that ``--any-model`` lets be asked, beside the wanted ones.
    rows += [(one.name, *[""] * 4, *_use_cells(one)) for one in uses.values()]
    return _table("Models", _MODELS_HEAD, rows, _MODELS_SHOWN) if rows else ""


def _model_cells(model: ModelState, use: ModelUsage | None) -> tuple[str, ...]:
    gpu, cpu = "not loaded", "not loaded"
    if model.memory_bytes:
        gpu = format_bytes(model.gpu_bytes)
        cpu = format_bytes(max(0, model.memory_bytes - model.gpu_bytes))
    return (
        model.name,
        model.phase.value,
        format_bytes(model.size_bytes) if model.size_bytes else "",
        gpu,
        cpu,
        *_use_cells(use or ModelUsage(name=model.name)),
    )


def _use_cells(use: ModelUsage) -> tuple[str, str]:
    return str(use.requests), tokens_text(use)


def keys_table(keys: Sequence[ApiKeyState]) -> str:
    """Return who may use the service, and what each has used."""
    if not keys:
        return ""
    rows = [key_cells(key) for key in keys]
    return _table("Keys", KEYS_HEAD, rows, _KEYS_SHOWN, " (%avocado_keys lists all)")


def members_table(members: Sequence[PoolMember]) -> str:
    """Return the notebooks behind a pool's URL; nothing without ``--pool``."""
    rows = []
    for member in members:
        seen = "never"
        if member.seen_s is not None:
            seen = f"{format_duration(member.seen_s)} ago"
        whose = " (this one)" if member.is_self else ""
        models = ", ".join(member.models) or "no model yet"
        rows.append((f"{member.id}{whose}", models, seen))
    return _table("Pool", _MEMBERS_HEAD, rows, _MEMBERS_SHOWN) if rows else ""


def _table(
    title: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    most: int,
    where: str = "",
) -> str:
    more = len(rows) - most
    rest = lines_of([f"… and {more} more{where}"], "more") if more > 0 else ""
    return columns_table(title, head, rows[:most]) + rest


def quota_bars(state: State) -> str:
    """Return how much of the provider's free month this service alone has used."""
    traffic = state.traffic
    if not traffic.public_requests:
        return ""
    quota = TUNNEL.quota
    requests, sent_bytes = traffic.public_requests, traffic.public_bytes_out
    free = format_bytes(quota.sent_bytes)
    shares = (
        (
            "requests",
            requests / quota.requests,
            f"{requests:,} of {quota.requests:,} requests",
        ),
        (
            "bytes",
            sent_bytes / quota.sent_bytes,
            f"{format_bytes(sent_bytes)} of {free} sent",
        ),
    )
    bars = "".join(
        f'<div class="avocado-share">{escape_line(told)}'
        f"{bar(f'quota: {name}', share, told, role='meter')}</div>"
        for name, share, told in shares
    )
    title = f"{TUNNEL.name}'s free month, as far as this service has used it"
    return f'<div class="avocado-quota"><b>{escape_line(title)}</b>{bars}</div>'


def errors_table(errors: Sequence[RecentError]) -> str:
    """Return what went wrong since the service began; nothing if nothing did."""
    if not errors:
        return ""
    rows = [(error.at, error.component, problem_text(error)) for error in errors]
    return columns_table("Last errors", _ERRORS_HEAD, rows)


def problem_text(error: RecentError) -> str:
    """Return what went wrong, what to do, and how often in a row it did."""
    times = f" ({error.times} times)" if error.times > 1 else ""
    return strip_control_chars(f"{error.problem} → {error.remedy}{times}")
