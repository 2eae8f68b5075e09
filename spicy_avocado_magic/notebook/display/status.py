"""The card of ``%avocado_status``: a service in tables, and the same as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ...client.state_text import (
    MARKS,
    address_facts,
    log_text,
    status_text,
    traffic_facts,
)
from ...config.model_name import model_key
from ...config.tunnel import TUNNEL
from ...formatting import format_bytes, format_duration
from ...protocol.state import (
    COMPONENTS,
    ApiKeyState,
    ModelState,
    ModelUsage,
    Phase,
    PoolMember,
    Stage,
    State,
    TrafficStats,
)
from ...system.redaction import strip_control_chars
from .html import (
    RichOutput,
    columns_table,
    details,
    escape_line,
    facts_table,
    lines_of,
    one_line,
)
from .render import bounded_output, models_text
from .stages import bar, failure_panel, stages_list, warnings_list
from .theme import card_header

if TYPE_CHECKING:
    from ...client.last_run import RecentError
    from ...config.api_key_options import ApiKeyRequest

KEYS_HEAD: Final = (
    "name",
    "limits",
    "requests",
    "tokens in / out",
    "last used",
    "expires",
)
_MODELS_HEAD: Final = ("model", "state", "on disk", "GPU", "CPU", "requests", "tokens")
_MEMBERS_HEAD: Final = ("member", "models", "last answer")
_ERRORS_HEAD: Final = ("when", "part", "problem")
_MAX_ROWS: Final = 10
_TITLES: Final = {
    "ready": "✓ Serving",
    "failed": "✗ Failed:",
    "starting": "… Starting",
}


def render_status(
    state: State, errors: Sequence[RecentError] = (), *, is_moving: bool = False
) -> RichOutput:
    """Return the card of a running service.

    Args:
        state: Of the service.
        errors: Those since it started, newest last.
        is_moving: Whether it will be redrawn, so that an open fold would close.
    """
    phase = _phase(state)
    title = f"{_TITLES[phase]} {models_text(state)}"
    markup = (
        card_header(title, _uptime(state))
        + _components(state)
        + _failures(state, has_log=not is_moving)
        + warnings_list(state.warnings)
        + facts_table(
            [
                (name.replace("url", "URL"), value)
                for name, value in address_facts(state)
            ],
            [
                ("engine", state.engine_text),
                *traffic_facts(state),
                ("log", log_text(state)),
            ],
        )
        + models_table(state)
        + keys_table(state.keys)
        + members_table(state.members)
        + quota_bars(state)
        + errors_table(errors)
    )
    if not is_moving:
        stages = stages_list(state.stages, has_panels=False)
        is_open = phase != "ready"
        markup += details("Stages", stages, is_open=is_open, kind="stages")
    text = status_text(state)
    if state.rehearsal:
        # ``bounded_output`` adds the mark that is the first line.
        text = text.partition("\n")[2]
    past = [one_line(f"{x.at} {x.component}: {problem_text(x)}") for x in errors]
    lines = [text, *(f"error    {line}" for line in past)]
    return bounded_output(state, markup, lines, phase=phase, label=title)


def _phase(state: State) -> str:
    phases = [state.component(name) for name in COMPONENTS]
    if Phase.FAILED in phases or state.failure is not None:
        return "failed"
    return "ready" if state.is_ready else "starting"


def _uptime(state: State) -> str:
    ends = ""
    if state.ends_in_s is not None:
        ends = f", ends in {format_duration(state.ends_in_s)}"
    return f"up {format_duration(state.uptime_s)}{ends}"


def _components(state: State) -> str:
    parts = []
    for name in COMPONENTS:
        phase = state.component(name)
        parts.append(
            f'<span class="avocado-part" role="listitem" data-phase="{phase.value}">'
            f'<span class="avocado-mark" aria-hidden="true">{MARKS[phase]}</span> '
            f"{name}: {phase.value}</span>"
        )
    return f'<div class="avocado-parts" role="list">{" ".join(parts)}</div>'


def _failures(state: State, *, has_log: bool) -> str:
    """Return a panel for each failure, without repeating one."""
    parts: tuple[Stage | ModelState, ...] = (*state.stages, *state.models)
    failures = dict.fromkeys(part.failure for part in parts if part.failure is not None)
    return "".join(failure_panel(failure, has_log=has_log) for failure in failures)


def tokens_text(usage: ApiKeyState | ModelUsage | TrafficStats) -> str:
    """Return tokens in and out; ``≈`` marks estimates of our own."""
    mark = "≈" if usage.is_estimate else ""
    return f"{mark}{usage.tokens_in} / {mark}{usage.tokens_out}"


def models_table(state: State) -> str:
    """Return each model with its size, its place in memory and its use."""
    usage = {model_key(each.name): each for each in state.traffic.models}
    rows = [
        _model_cells(model, usage.pop(model_key(model.name), None))
        for model in state.models
    ]
    # Models that were not named can be used with ``--any-model``.
    rows += [(each.name, *[""] * 4, *_usage_cells(each)) for each in usage.values()]
    return _table("Models", _MODELS_HEAD, rows) if rows else ""


def _model_cells(model: ModelState, usage: ModelUsage | None) -> tuple[str, ...]:
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
        *_usage_cells(usage or ModelUsage(name=model.name)),
    )


def _usage_cells(usage: ModelUsage) -> tuple[str, str]:
    return str(usage.requests), tokens_text(usage)


def keys_table(keys: Sequence[ApiKeyState]) -> str:
    """Return each key with its limits and use."""
    rows = [key_cells(key) for key in keys]
    return _table("Keys", KEYS_HEAD, rows, " (%avocado_keys lists all)") if rows else ""


def key_cells(key: ApiKeyState) -> tuple[str, ...]:
    """Return a key's row under ``KEYS_HEAD``."""
    expires = "never"
    if key.expires_in_s is not None:
        left_s = key.expires_in_s
        expires = f"in {format_duration(left_s)}" if left_s > 0 else "expired"
    return (
        strip_control_chars(key.name),
        limits_text(key),
        str(key.requests),
        tokens_text(key),
        "never" if key.idle_s is None else f"{format_duration(key.idle_s)} ago",
        expires,
    )


def limits_text(key: ApiKeyState | ApiKeyRequest) -> str:
    """Return the limits of a key on one line."""
    parts = []
    if key.rpm:
        parts.append(f"{key.rpm} requests/min")
    if key.tokens:
        parts.append(f"{key.tokens} tokens")
    if key.models:
        parts.append(", ".join(key.models))
    if key.manage:
        parts.append("manages models")
    return strip_control_chars("; ".join(parts) or "none")


def members_table(members: Sequence[PoolMember]) -> str:
    """Return the notebooks behind a pool's URL; empty without ``--pool``."""
    rows = []
    for member in members:
        seen = "never"
        if member.seen_s is not None:
            seen = f"{format_duration(member.seen_s)} ago"
        name = f"{member.id} (this one)" if member.is_self else member.id
        rows.append((name, ", ".join(member.models) or "no model yet", seen))
    return _table("Pool", _MEMBERS_HEAD, rows) if rows else ""


def _table(
    title: str, head: Sequence[str], rows: Sequence[Sequence[str]], hint: str = ""
) -> str:
    more = len(rows) - _MAX_ROWS
    rest = lines_of([f"… and {more} more{hint}"], "more") if more > 0 else ""
    return columns_table(title, head, rows[:_MAX_ROWS]) + rest


def quota_bars(state: State) -> str:
    """Return how much of the provider's free month this service alone has used."""
    traffic, quota = state.traffic, TUNNEL.quota
    if not traffic.public_requests:
        return ""
    sent, free = map(format_bytes, (traffic.public_bytes_out, quota.sent_bytes))
    shares = (
        (
            "requests",
            traffic.public_requests / quota.requests,
            f"{traffic.public_requests:,} of {quota.requests:,} requests",
        ),
        (
            "bytes",
            traffic.public_bytes_out / quota.sent_bytes,
            f"{sent} of {free} sent",
        ),
    )
    bars = "".join(
        f'<div class="avocado-share">{escape_line(text)}'
        f"{bar(f'quota: {name}', share, text, role='meter')}</div>"
        for name, share, text in shares
    )
    title = f"{TUNNEL.name}'s free month, as far as this service has used it"
    return f'<div class="avocado-quota"><b>{escape_line(title)}</b>{bars}</div>'


def errors_table(errors: Sequence[RecentError]) -> str:
    """Return the errors since the service started; empty if there were none."""
    rows = [(error.at, error.component, problem_text(error)) for error in errors]
    return columns_table("Last errors", _ERRORS_HEAD, rows) if rows else ""


def problem_text(error: RecentError) -> str:
    """Return problem, remedy, and how often in a row it happened."""
    times = f" ({error.times} times)" if error.times > 1 else ""
    return strip_control_chars(f"{error.problem} → {error.remedy}{times}")
