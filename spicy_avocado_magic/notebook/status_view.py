"""How a running service is: a card of tables, and the same in plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ..secrets import plain_text
from ..state import (
    COMPONENTS,
    Failure,
    KeyState,
    Member,
    ModelState,
    ModelUse,
    Phase,
    Stage,
    State,
    Traffic,
)
from ..text import (
    MARKS,
    PUBLIC_BYTES_A_MONTH,
    PUBLIC_REQUESTS_A_MONTH,
    bytes_text,
    key_text,
    metrics_text,
    seconds_text,
    status_text,
)
from .card.markup import (
    Picture,
    columns_table,
    escaped,
    facts_table,
    fold,
    lines_of,
    one_line,
)
from .card.pictures import card, models_text
from .card.stages import bar, failure_panel, stages_list, warnings_list
from .card.style import headed
from .keys_view import HEAD as KEYS_HEAD
from .keys_view import key_cells

if TYPE_CHECKING:
    from ..client.last_errors import PastError

_MODELS_SHOWN: Final = 10
_KEYS_SHOWN: Final = 10
_MEMBERS_SHOWN: Final = 10
_MODELS_HEAD: Final = ("model", "state", "on disk", "GPU", "CPU", "requests", "tokens")


def status_picture(
    state: State, errors: Sequence[PastError] = (), *, is_moving: bool = False
) -> Picture:
    """Return everything about a service.

    Args:
        state: Of the service.
        errors: What went wrong since it began, the latest last.
        is_moving: Whether it is redrawn, so that a fold would not stay open.
    """
    phase = _phase(state)
    title = f"{_said(phase)} {models_text(state)}"
    markup = (
        headed(title, _uptime(state))
        + _components(state)
        + _failures(state, has_log=not is_moving)
        + warnings_list(state.warnings)
        + facts_table(_facts(state), _prose(state))
        + _models(state)
        + _keys(state.keys)
        + _members(state.members)
        + _quota(state)
        + _past(errors)
    )
    if not is_moving:
        stages = stages_list(state.stages, has_panels=False)
        is_open = phase != "ready"
        markup += fold("Stages", stages, is_open=is_open, kind="stages")
    lines = [status_text(state).partition("\n")[2] if state.rehearsal else ""]
    if not state.rehearsal:
        lines = [status_text(state)]
    lines += [f"error    {line}" for line in _past_lines(errors)]
    return card(state, markup, lines, phase=phase, label=title)


def _phase(state: State) -> str:
    phases = [state.component(name) for name in COMPONENTS]
    if Phase.FAILED in phases or state.failure is not None:
        return "failed"
    return "ready" if state.is_ready else "starting"


def _said(phase: str) -> str:
    words = {"ready": "✓ Serving", "failed": "✗ Failed:", "starting": "… Starting"}
    return words[phase]


def _uptime(state: State) -> str:
    ends = ""
    if state.ends_in_s is not None:
        ends = f", ends in {seconds_text(state.ends_in_s)}"
    return f"up {seconds_text(state.uptime_s)}{ends}"


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
    told: dict[Failure, None] = {}
    parts: tuple[Stage | ModelState, ...] = (*state.stages, *state.models)
    for part in parts:
        if part.failure is not None:
            told[part.failure] = None
    return "".join(failure_panel(failure, has_log=has_log) for failure in told)


def _facts(state: State) -> list[tuple[str, str]]:
    is_off = state.component("tunnel") is Phase.OFF
    facts = [
        ("URL", state.url or ("(none: --local)" if is_off else "(none yet)")),
        ("local", state.local_url),
        ("key", key_text(state, show_key=False)),
    ]
    if state.metrics_token:
        facts.append(("metrics", metrics_text(state, show_token=False)))
    return facts


def _prose(state: State) -> list[tuple[str, str]]:
    return [
        ("engine", f"{state.engine} on {state.compute}"),
        ("now", _now(state)),
        ("so far", _so_far(state)),
        ("log", f"{state.log_path} (%avocado_logs shows it)"),
    ]


def _now(state: State) -> str:
    traffic = state.traffic
    text = (
        f"{traffic.tokens_a_second:.1f} tokens a second, "
        f"{traffic.in_flight} in flight, {traffic.queued} waiting"
    )
    if traffic.first_token_p50_s is not None and traffic.first_token_p95_s is not None:
        half = seconds_text(traffic.first_token_p50_s)
        most = seconds_text(traffic.first_token_p95_s)
        text += f"; first token after {half} (half), {most} (95 %)"
    return text


def _so_far(state: State) -> str:
    traffic = state.traffic
    text = f"{state.requests} requests let in, {state.refused} refused, "
    text += f"{bytes_text(state.bytes_out)} sent, {_tokens(traffic)} tokens in / out"
    if traffic.lost_lines:
        text += f"; {traffic.lost_lines} lines of access.log lost: is the disk full?"
    return text


def _tokens(use: KeyState | ModelUse | Traffic) -> str:
    about = "≈" if use.is_estimate else ""
    return f"{about}{use.tokens_in} / {about}{use.tokens_out}"


def _models(state: State) -> str:
    if not state.models:
        return ""
    uses = {use.name: use for use in state.traffic.models}
    rows = [_model_cells(model, uses.get(model.name)) for model in state.models]
    return _table("Models", _MODELS_HEAD, rows, _MODELS_SHOWN)


def _model_cells(model: ModelState, use: ModelUse | None) -> Sequence[str]:
    gpu, cpu = "not loaded", "not loaded"
    if model.memory_bytes:
        gpu = bytes_text(model.gpu_bytes)
        cpu = bytes_text(max(0, model.memory_bytes - model.gpu_bytes))
    return (
        model.name,
        model.phase.value,
        bytes_text(model.size_bytes) if model.size_bytes else "",
        gpu,
        cpu,
        str(use.requests) if use else "0",
        _tokens(use) if use else "0 / 0",
    )


def _keys(keys: Sequence[KeyState]) -> str:
    if not keys:
        return ""
    rows = [key_cells(key) for key in keys]
    return _table("Keys", KEYS_HEAD, rows, _KEYS_SHOWN, " (%avocado_keys lists all)")


def _members(members: Sequence[Member]) -> str:
    rows = []
    for member in members:
        seen = "never"
        if member.seen_s is not None:
            seen = f"{seconds_text(member.seen_s)} ago"
        whose = " (this one)" if member.is_self else ""
        models = ", ".join(member.models) or "no model yet"
        rows.append((f"{member.id}{whose}", models, seen))
    head = ("member", "models", "answered")
    return _table("Pool", head, rows, _MEMBERS_SHOWN) if rows else ""


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


def _quota(state: State) -> str:
    """Return how much of ngrok's free month this service alone has used."""
    traffic = state.traffic
    if not traffic.public_requests:
        return ""
    requests, sent_bytes = traffic.public_requests, traffic.public_bytes_out
    free = bytes_text(PUBLIC_BYTES_A_MONTH)
    shares = (
        (
            "requests",
            requests / PUBLIC_REQUESTS_A_MONTH,
            f"{requests:,} of {PUBLIC_REQUESTS_A_MONTH:,} requests",
        ),
        (
            "bytes",
            sent_bytes / PUBLIC_BYTES_A_MONTH,
            f"{bytes_text(sent_bytes)} of {free} sent",
        ),
    )
    bars = "".join(
        f'<div class="avocado-share">{escaped(told)}'
        f"{bar(f'quota: {name}', share, told, role='meter')}</div>"
        for name, share, told in shares
    )
    title = "ngrok's free month, as far as this service has used it"
    return f'<div class="avocado-quota"><b>{escaped(title)}</b>{bars}</div>'


def _past(errors: Sequence[PastError]) -> str:
    if not errors:
        return ""
    rows = [(error.at, error.component, _problem(error)) for error in errors]
    return columns_table("Last errors", ("when", "part", "what"), rows)


def _past_lines(errors: Sequence[PastError]) -> list[str]:
    return [
        one_line(f"{error.at} {error.component}: {_problem(error)}") for error in errors
    ]


def _problem(error: PastError) -> str:
    times = f" ({error.times} times)" if error.times > 1 else ""
    return plain_text(f"{error.problem} → {error.remedy}{times}")
