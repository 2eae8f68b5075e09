"""A ``State`` as plain text: progress lines, status and connection details."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Container, Iterable
from typing import Final

from ..config.tunnel import TUNNEL
from ..formatting import format_bytes, format_duration
from ..protocol.state import (
    ApiKeyState,
    Failure,
    ModelState,
    ModelUsage,
    Phase,
    PoolMember,
    Progress,
    Stage,
    State,
    TrafficStats,
)
from ..system.redaction import mask, strip_control_chars

REHEARSAL_MARK: Final = "REHEARSAL (loopback world: no account, network or GPU is used)"

SHELL_KEY: Final = "${AVOCADO_API_KEY:?print(avocado.api_key) shows it}"
"""A hidden key in a shell command; the shell's error says how to get the key."""

NO_PORT_YET: Final = "(no port yet)"
MARKS: Final = {
    Phase.OFF: "-",
    Phase.WAITING: "·",
    Phase.STARTING: "…",
    Phase.READY: "✓",
    Phase.BACKOFF: "↻",
    Phase.FAILED: "✗",
}
QUIET: Final = (Phase.WAITING, Phase.OFF)
"""Phases in which a stage has nothing to report."""
_COLUMN: Final = 8


def progress_text(progress: Progress) -> str:
    """Return bytes, rate and remaining time in one line."""
    text = (
        f"{format_bytes(progress.done_bytes)} of {format_bytes(progress.total_bytes)}"
    )
    if progress.left_s is not None and progress.fraction < 1:
        text += f", {format_bytes(progress.rate_bytes_s)}/s"
        text += f", {format_duration(progress.left_s)} left"
    return text


def stage_line(stage: Stage) -> str:
    """Return a stage in one line: phase, detail, progress and duration."""
    parts = (
        [" ".join(strip_control_chars(stage.detail).split())] if stage.detail else []
    )
    if stage.progress is not None:
        parts.append(progress_text(stage.progress))
    if stage.elapsed_s and stage.phase is not Phase.WAITING:
        parts.append(format_duration(stage.elapsed_s))
    return f"{MARKS[stage.phase]} {stage.name:<{_COLUMN}} {' · '.join(parts)}".rstrip()


def failure_lines(failure: Failure) -> list[str]:
    """Return problem, remedy and the last log lines of a component."""
    lines = [
        f"  ✗ {strip_control_chars(failure.problem)}",
        f"    → {strip_control_chars(failure.remedy)}",
    ]
    return lines + [f"      │ {strip_control_chars(line)}" for line in failure.log_tail]


def progress_lines(state: State) -> list[str]:
    """Return all stages and warnings, a line each."""
    head = [REHEARSAL_MARK] if state.rehearsal else []
    warnings = [f"! {strip_control_chars(warning)}" for warning in state.warnings]
    return head + [stage_line(stage) for stage in state.stages] + warnings


def status_text(state: State) -> str:
    """Return components, URL, key, models with memory, traffic and uptime."""
    lines = progress_lines(state)
    failures = [stage.failure for stage in state.stages]
    failures += [model.failure for model in state.models]
    for failure in dict.fromkeys(failures):
        if failure is not None:
            lines += failure_lines(failure)
    lines += ["", *_fact_lines(address_facts(state))]
    lines.append(f"engine   {strip_control_chars(state.engine_text)}")
    lines += [f"model    {model_line(model)}" for model in state.models]
    lines += [f"member   {member_line(member)}" for member in state.members]
    lines += traffic_lines(state)
    left_s = state.ends_in_s
    ends = "" if left_s is None else f", ends in {format_duration(left_s)}"
    lines.append(f"up       {format_duration(state.uptime_s)}{ends}")
    lines.append(f"log      {log_text(state)}")
    return "\n".join(lines)


def _fact_lines(facts: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name:<8} {value}" for name, value in facts]


def address_facts(state: State) -> list[tuple[str, str]]:
    """Return URL, local URL, masked key and the address of the metrics, by name."""
    is_off = state.component("tunnel") is Phase.OFF
    facts = [
        ("url", state.url or ("(none: --local)" if is_off else "(none yet)")),
        ("local", state.local_url),
        ("key", key_text(state, show_key=False)),
    ]
    if state.metrics_token:
        facts.append(("metrics", metrics_text(state, show_token=False)))
    return facts


def traffic_facts(state: State) -> list[tuple[str, str]]:
    """Return requests, answers by status, and tokens with their rate, by name."""
    traffic, sent = state.traffic, format_bytes(state.bytes_out)
    tokens = f"{_tokens(traffic)}; {traffic.tokens_a_second:.1f} per second now"
    p50_s, p95_s = traffic.first_token_p50_s, traffic.first_token_p95_s
    if p50_s is not None and p95_s is not None:
        tokens += (
            f"; the first one after {format_duration(p50_s)} (median), "
            f"{format_duration(p95_s)} (95th percentile)"
        )
    requests = (
        f"{state.requests} accepted, {state.refused} refused, {sent} sent; "
        f"{traffic.in_flight} in progress, {traffic.queued} waiting"
    )
    answers = ", ".join(f"{n} x {code}" for code, n in traffic.statuses)
    return [
        ("requests", requests),
        ("answers", answers or "none yet"),
        ("tokens", tokens),
    ]


def log_text(state: State) -> str:
    """Return where the log is, and whether lines of it were lost."""
    lost = state.traffic.lost_lines
    full = f" ({lost} lines of access.log lost: is the disk full?)" if lost else ""
    return f"{state.log_path} (%avocado_logs shows it){full}"


def traffic_lines(state: State) -> list[str]:
    """Return the gateway's requests, tokens, speed, and usage by model and key."""
    traffic = state.traffic
    lines = _fact_lines(traffic_facts(state))
    if traffic.public_requests:
        used = format_bytes(traffic.public_bytes_out)
        quota = TUNNEL.quota
        free = f"{quota.requests:,} and {format_bytes(quota.sent_bytes)}"
        lines.append(
            f"public   {traffic.public_requests} requests, {used} sent since the "
            f"start ({TUNNEL.name}'s free plan: {free} a month)"
        )
    uses = [
        f"{strip_control_chars(model.name)}: {model.requests} requests, "
        f"{_tokens(model)}"
        for model in traffic.models
    ]
    uses += [key_line(key) for key in state.keys]
    return lines + [f"use      {use}" for use in uses]


def key_line(key: ApiKeyState) -> str:
    """Return the usage of one key, and when it was last used."""
    text = (
        f"key {strip_control_chars(key.name)}: {key.requests} requests, {_tokens(key)}"
    )
    if key.tokens:
        text += f" ({key.tokens_in + key.tokens_out} of {key.tokens})"
    if key.expires_in_s is not None:
        left = format_duration(key.expires_in_s)
        text += f", expires in {left}" if key.expires_in_s else ", expired"
    if key.idle_s is not None:
        text += f", last {format_duration(key.idle_s)} ago"
    return text


def _tokens(use: ApiKeyState | ModelUsage | TrafficStats) -> str:
    about = "≈ " if use.is_estimate else ""
    return f"{about}{use.tokens_in} tokens in, {about}{use.tokens_out} out"


def model_line(model: ModelState) -> str:
    """Return a model with its size on disk and in GPU and CPU memory."""
    text = f"{strip_control_chars(model.name)}: {model.phase}"
    if model.size_bytes:
        text += f", {format_bytes(model.size_bytes)} on disk"
    if model.memory_bytes:
        cpu_bytes = max(0, model.memory_bytes - model.gpu_bytes)
        text += f", {format_bytes(model.gpu_bytes)} on the GPU"
        text += f", {format_bytes(cpu_bytes)} on the CPU"
    elif model.fit:
        text += f", {strip_control_chars(model.fit)}"
    return text


def member_line(member: PoolMember) -> str:
    """Return a member of the pool with its models and the time of its last answer."""
    models = ", ".join(strip_control_chars(model) for model in member.models)
    seen = "never" if member.seen_s is None else f"{format_duration(member.seen_s)} ago"
    who = strip_control_chars(member.id) + (" (this one)" if member.is_self else "")
    return f"{who}: {models or 'no model yet'}, answered {seen}"


def key_text(state: State, *, show_key: bool) -> str:
    """Return the key as shown: in full only if it is generated and not hidden."""
    if not state.api_key:
        return "none: anybody with the URL can use it"
    if is_key_shown(state, show_key=show_key):
        return state.api_key
    return f"{mask(state.api_key)} (avocado.api_key has it)"


def is_key_shown(state: State, *, show_key: bool) -> bool:
    """Return whether to show the key in full: only if generated and not hidden."""
    return show_key and state.key_is_generated and not state.hide_key


def metrics_text(state: State, *, show_token: bool) -> str:
    """Return the URL and token of the metrics endpoint."""
    where = state.metrics_url or NO_PORT_YET
    if show_token and not state.hide_key:
        return f"{where}, token {state.metrics_token}"
    return f"{where}, token {mask(state.metrics_token)} (avocado.metrics_token)"


def curl_line(state: State, *, show_key: bool) -> str:
    """Return a complete ``curl`` command; a hidden key is a variable in it."""
    model = state.models[0].name if state.models else "MODEL"
    body = json.dumps(
        {"model": model, "messages": [{"role": "user", "content": "Hello!"}]}
    )
    key = ""
    if state.api_key:
        is_shown = is_key_shown(state, show_key=show_key)
        value = state.api_key if is_shown else SHELL_KEY
        key = f'-H "Authorization: Bearer {value}" '
    quoted = body.replace("'", "'\\''")
    url = shlex.quote(f"{state.url or state.local_url}/v1/chat/completions")
    return f"curl {url} {key}-H 'Content-Type: application/json' -d '{quoted}'"


def connection_details(
    state: State, *, show_key: bool, show_token: bool = False
) -> str:
    """Return URL, key, local URL, models, metrics and a ``curl`` command."""
    names = ", ".join(model.name for model in state.models)
    lines = [REHEARSAL_MARK] if state.rehearsal else []
    lines += [
        f"url    {state.url or '(none: --local)'}",
        f"key    {key_text(state, show_key=show_key)}",
        f"local  {state.local_url}",
        f"models {strip_control_chars(names)}",
    ]
    if state.metrics_token:
        lines.append(f"metrics {metrics_text(state, show_token=show_token)}")
    lines += ["", curl_line(state, show_key=show_key)]
    return "\n".join(lines)


def print_progress(
    write: Callable[[str], object] | None = None, *, quiet: Container[Phase] = QUIET
) -> Callable[[State], None]:
    """Return a callback that prints each new warning and each change of a stage.

    Args:
        write: Called with a line and its newline; by default standard error.
        quiet: Phases in which a stage writes no line.
    """
    printed: dict[str, tuple[Phase, str]] = {}
    warned: set[str] = set()
    write = write or sys.stderr.write

    def show(state: State) -> None:
        if state.rehearsal and not printed:
            write(REHEARSAL_MARK + "\n")
        for warning in state.warnings:
            if warning not in warned:
                write(f"! {strip_control_chars(warning)}\n")
        warned.update(state.warnings)
        for stage in state.stages:
            news = (stage.phase, stage.detail)
            if stage.phase not in quiet and printed.get(stage.name) != news:
                write(stage_line(stage) + "\n")
            printed[stage.name] = news

    return show
