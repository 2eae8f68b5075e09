"""The card of ``%avocado_status``: a service in tables, and the same as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ...client.state_text import (
    MARKS,
    answers_text,
    key_text,
    metrics_text,
    status_text,
)
from ...formatting import format_bytes, format_duration
from ...protocol.state import (
    COMPONENTS,
    ModelState,
    Phase,
    Stage,
    State,
    TrafficStats,
)
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
    from ...client.recent_errors import RecentError

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
        + facts_table(_facts(state), _sentences(state))
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


def _sentences(state: State) -> list[tuple[str, str]]:
    return [
        ("engine", state.engine_text),
        ("now", _current_traffic(state.traffic)),
        ("so far", _total_traffic(state)),
        ("answers", answers_text(state.traffic)),
        ("log", f"{state.log_path} (%avocado_logs shows it)"),
    ]


def _current_traffic(traffic: TrafficStats) -> str:
    text = (
        f"{traffic.tokens_a_second:.1f} tokens per second, "
        f"{traffic.in_flight} requests in progress, {traffic.queued} waiting"
    )
    if traffic.first_token_p50_s is not None and traffic.first_token_p95_s is not None:
        median = format_duration(traffic.first_token_p50_s)
        slow = format_duration(traffic.first_token_p95_s)
        text += f"; first token after {median} (median), {slow} (95th percentile)"
    return text


def _total_traffic(state: State) -> str:
    traffic, sent = state.traffic, format_bytes(state.bytes_out)
    text = (
        f"{state.requests} requests accepted, {state.refused} refused, {sent} sent, "
        f"{tokens_text(traffic)} tokens in / out"
    )
    if traffic.lost_lines:
        text += f"; {traffic.lost_lines} lines of access.log lost: is the disk full?"
    return text
