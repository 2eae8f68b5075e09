"""A ``State`` in plain text: progress lines, the status table and the hand-over."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Final

from .secrets import masked, plain_text
from .state import Failure, ModelState, Phase, Progress, Stage, State

REHEARSAL_MARK: Final = "REHEARSAL (loopback world: no account, network or GPU is used)"

_MARKS: Final = {
    Phase.OFF: "-",
    Phase.WAITING: "·",
    Phase.STARTING: "…",
    Phase.READY: "✓",
    Phase.BACKOFF: "↻",
    Phase.FAILED: "✗",
}
_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
_KILO: Final = 1000.0
_COLUMN: Final = 8


def bytes_text(size_bytes: float) -> str:
    """Return a size as people read it: ``4.7 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if round(size_bytes, 1) < _KILO:
            return f"{size_bytes:.0f} B" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= _KILO
    return f"{size_bytes:.1f} TB"


def seconds_text(seconds: float) -> str:
    """Return a duration as people read it: ``0.4 s``, ``2 min 5 s``, ``3 h 10 min``."""
    if round(seconds, 1) < _MINUTE_S:
        return f"{seconds:.1f} s"
    whole_s = round(seconds)
    if whole_s < _HOUR_S:
        return f"{whole_s // _MINUTE_S} min {whole_s % _MINUTE_S} s"
    return f"{whole_s // _HOUR_S} h {whole_s % _HOUR_S // _MINUTE_S} min"


def progress_text(progress: Progress) -> str:
    """Return bytes, rate and time left in a line."""
    text = f"{bytes_text(progress.done_bytes)} of {bytes_text(progress.total_bytes)}"
    if progress.left_s is not None and progress.fraction < 1:
        text += f", {bytes_text(progress.rate_bytes_s)}/s"
        text += f", {seconds_text(progress.left_s)} left"
    return text


def stage_line(stage: Stage) -> str:
    """Return a stage in one line: what it does or did, and how long it took."""
    parts = [plain_text(stage.detail)] if stage.detail else []
    if stage.progress is not None:
        parts.append(progress_text(stage.progress))
    if stage.elapsed_s and stage.phase is not Phase.WAITING:
        parts.append(seconds_text(stage.elapsed_s))
    mark = _MARKS[stage.phase]
    return f"{mark} {stage.name:<{_COLUMN}} {' · '.join(parts)}".rstrip()


def failure_lines(failure: Failure) -> list[str]:
    """Return what went wrong, what to do, and the end of the part's log."""
    lines = [
        f"  ✗ {plain_text(failure.problem)}",
        f"    → {plain_text(failure.remedy)}",
    ]
    return lines + [f"      │ {plain_text(line)}" for line in failure.log_tail]


def progress_lines(state: State) -> list[str]:
    """Return all stages, a line each."""
    head = [REHEARSAL_MARK] if state.rehearsal else []
    warnings = [f"! {plain_text(warning)}" for warning in state.warnings]
    return head + [stage_line(stage) for stage in state.stages] + warnings


def status_text(state: State) -> str:
    """Return every component, the URL, uptime, models with memory, and requests."""
    lines = progress_lines(state)
    failures = [stage.failure for stage in state.stages]
    failures += [model.failure for model in state.models]
    for failure in dict.fromkeys(failures):
        if failure is not None:
            lines += failure_lines(failure)
    is_off = state.component("tunnel") is Phase.OFF
    no_url = "(none: --local)" if is_off else "(none yet)"
    lines += ["", f"url      {state.url or no_url}"]
    lines.append(f"local    {state.local_url}")
    lines.append(f"key      {key_text(state, show_key=False)}")
    lines.append(f"engine   {plain_text(state.engine)} on {plain_text(state.compute)}")
    lines += [f"model    {model_line(model)}" for model in state.models]
    lines.append(
        f"requests {state.requests} served, {state.refused} refused, "
        f"{bytes_text(state.bytes_out)} sent"
    )
    ends = (
        "" if state.ends_in_s is None else f", ends in {seconds_text(state.ends_in_s)}"
    )
    lines.append(f"up       {seconds_text(state.uptime_s)}{ends}")
    lines.append(f"log      {state.log_path}")
    return "\n".join(lines)


def model_line(model: ModelState) -> str:
    """Return a model with its size, and where in memory it is."""
    text = f"{plain_text(model.name)}: {model.phase}"
    if model.size_bytes:
        text += f", {bytes_text(model.size_bytes)} on disk"
    if model.memory_bytes:
        share = model.gpu_bytes / model.memory_bytes
        text += f", {bytes_text(model.memory_bytes)} in memory, {share:.0%} on the GPU"
    return text


def key_text(state: State, *, show_key: bool) -> str:
    """Return the key in words: whole only where it was made, and may be seen."""
    if not state.api_key:
        return "none: anybody with the URL can use it"
    if show_key and state.key_is_generated and not state.hide_key:
        return state.api_key
    return f"{masked(state.api_key)} (avocado.api_key has it)"


def curl_line(state: State, *, show_key: bool) -> str:
    """Return a line that works when pasted; a hidden key is a variable in it."""
    model = state.models[0].name if state.models else "MODEL"
    body = json.dumps(
        {"model": model, "messages": [{"role": "user", "content": "Hello!"}]}
    )
    key = ""
    if state.api_key:
        is_shown = show_key and state.key_is_generated and not state.hide_key
        value = state.api_key if is_shown else "$AVOCADO_API_KEY"
        key = f'-H "Authorization: Bearer {value}" '
    quoted = body.replace("'", "'\\''")
    url = f"{state.url or state.local_url}/v1/chat/completions"
    return f"curl {url} {key}-H 'Content-Type: application/json' -d '{quoted}'"


def handover_text(state: State, *, show_key: bool) -> str:
    """Return URL, key, local URL, models and a curl line."""
    lines = [REHEARSAL_MARK] if state.rehearsal else []
    lines += [
        f"url    {state.url or '(none: --local)'}",
        f"key    {key_text(state, show_key=show_key)}",
        f"local  {state.local_url}",
        f"models {', '.join(plain_text(model.name) for model in state.models)}",
        "",
        curl_line(state, show_key=show_key),
    ]
    return "\n".join(lines)


def narrate(write: Callable[[str], object] | None = None) -> Callable[[State], None]:
    """Return a viewer that writes a line for each warning, and what stages say anew.

    Args:
        write: Takes a line with its newline; by default standard error.
    """
    told: dict[str, tuple[Phase, str]] = {}
    warned: set[str] = set()
    say = write or sys.stderr.write
    quiet = (Phase.WAITING, Phase.OFF)

    def show(state: State) -> None:
        if state.rehearsal and not told:
            say(REHEARSAL_MARK + "\n")
        for warning in state.warnings:
            if warning not in warned:
                say(f"! {plain_text(warning)}\n")
        warned.update(state.warnings)
        for stage in state.stages:
            news = (stage.phase, stage.detail)
            if stage.phase not in quiet and told.get(stage.name) != news:
                say(stage_line(stage) + "\n")
            told[stage.name] = news

    return show
