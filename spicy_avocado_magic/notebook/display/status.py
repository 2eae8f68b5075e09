"""How a running service is: a card of tables, and the same in plain text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...client.state_text import (
    MARKS,
    answers_text,
    key_text,
    metrics_text,
    status_text,
)
from ...formatting import format_bytes, format_duration
from ...protocol.state import COMPONENTS, Failure, ModelState, Phase, Stage, State
from .html import RichOutput, details, facts_table, one_line
from .render import bounded_output, models_text
from .stages import failure_panel, stages_list, warnings_list
from .status_tables import (
    errors_table,
    keys_table,
    members_table,
    models_table,
    problem_text,
    quota_bars,
    tokens_text,
)
from .theme import card_header

if TYPE_CHECKING:
    from ...client.last_run import RecentError


def render_status(
    state: State, errors: Sequence[RecentError] = (), *, is_moving: bool = False
) -> RichOutput:
    """Return everything about a service.

    Args:
        state: Of the service.
        errors: What went wrong since it began, the latest last.
        is_moving: Whether it is redrawn, so that a fold would not stay open.
    """
    phase = _phase(state)
    title = f"{_said(phase)} {models_text(state)}"
    markup = (
        card_header(title, _uptime(state))
        + _components(state)
        + _failures(state, has_log=not is_moving)
        + warnings_list(state.warnings)
        + facts_table(_facts(state), _prose(state))
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
    lines = [status_text(state).partition("\n")[2] if state.rehearsal else ""]
    if not state.rehearsal:
        lines = [status_text(state)]
    lines += [f"error    {line}" for line in _past_lines(errors)]
    return bounded_output(state, markup, lines, phase=phase, label=title)


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
        ("engine", state.engine_text),
        ("now", _now(state)),
        ("so far", _so_far(state)),
        ("answers", answers_text(state.traffic)),
        ("log", f"{state.log_path} (%avocado_logs shows it)"),
    ]


def _now(state: State) -> str:
    traffic = state.traffic
    text = (
        f"{traffic.tokens_a_second:.1f} tokens a second, "
        f"{traffic.in_flight} in flight, {traffic.queued} waiting"
    )
    if traffic.first_token_p50_s is not None and traffic.first_token_p95_s is not None:
        half = format_duration(traffic.first_token_p50_s)
        most = format_duration(traffic.first_token_p95_s)
        text += f"; first token after {half} (half), {most} (95 %)"
    return text


def _so_far(state: State) -> str:
    traffic = state.traffic
    sent, tokens = format_bytes(state.bytes_out), tokens_text(traffic)
    text = f"{state.requests} requests let in, {state.refused} refused, {sent} sent"
    text += f", {tokens} tokens in / out"
    if traffic.lost_lines:
        text += f"; {traffic.lost_lines} lines of access.log lost: is the disk full?"
    return text


def _past_lines(errors: Sequence[RecentError]) -> list[str]:
    return [one_line(f"{x.at} {x.component}: {problem_text(x)}") for x in errors]
