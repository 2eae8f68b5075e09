"""Stages as rows of HTML and lines of text, with progress bars and failures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ...client.state_text import MARKS, progress_text, stage_line
from ...formatting import format_duration
from ...protocol.state import Failure, Phase, Stage, State
from ...system.redaction import strip_control_chars
from .html import (
    details,
    escape_line,
    first_few,
    lines_of,
    one_line,
    preformatted,
    truncate,
)

STOPPED: Final = "stopped"
"""Phase of a stage that was in progress when its cell ended."""
_STOPPED_MARK: Final = "■"
_PHASE_LABELS: Final = {
    Phase.OFF: "off",
    Phase.WAITING: "waiting",
    Phase.STARTING: "in progress",
    Phase.READY: "ready",
    Phase.BACKOFF: "failed, will be retried",
    Phase.FAILED: "failed",
}
_IN_PROGRESS: Final = (Phase.STARTING, Phase.BACKOFF)
_FAILING: Final = (Phase.BACKOFF, Phase.FAILED)
LINE_CHARS: Final = 400
"""Limit of one line of a log."""
_WARNINGS_SHOWN: Final = 5


def stages_list(
    stages: Iterable[Stage], *, is_over: bool = False, has_panels: bool = True
) -> str:
    """Return stages as rows.

    Args:
        stages: In the order of the rows.
        is_over: Whether the cell has ended, so that nothing is in progress any more.
        has_panels: Whether a failed stage shows its failure with remedy and log.
    """
    rows = "".join(
        _row(stage, is_over=is_over, has_panel=has_panels) for stage in stages
    )
    return f'<div class="avocado-stages" role="list">{rows}</div>'


def stages_text(state: State, *, is_over: bool = False) -> list[str]:
    """Return the same stages as lines of text."""
    lines = []
    for stage in state.stages:
        line = strip_control_chars(stage_line(_at_rest(stage) if is_over else stage))
        if is_over and stage.phase in _IN_PROGRESS:
            line = f"{_STOPPED_MARK}{line[1:]}"
        lines.append(line)
    return lines


def failure_panel(failure: Failure, *, has_log: bool = True) -> str:
    """Return problem and remedy, and the last lines of the log in a fold.

    Args:
        failure: What went wrong.
        has_log: Whether to show the log; a redraw would close its fold.
    """
    markup = (
        f'<div class="avocado-problem">{escape_line(failure.problem)}</div>'
        f'<div class="avocado-remedy">→ {escape_line(failure.remedy)}</div>'
    )
    if failure.log_tail and has_log:
        count = len(failure.log_tail)
        title = (
            f"Last {count} lines of its log" if count > 1 else "Last line of its log"
        )
        log = "\n".join(truncate(line, LINE_CHARS) for line in failure.log_tail)
        markup += details(title, preformatted(log, len(log)), kind="log")
    return f'<div class="avocado-failure">{markup}</div>'


def warnings_text(warnings: Iterable[str]) -> list[str]:
    """Return the first few warnings, a line each."""
    lines = [one_line(warning) for warning in warnings]
    return [f"! {line}" for line in first_few(lines, _WARNINGS_SHOWN)]


def warnings_list(warnings: Iterable[str]) -> str:
    """Return the same lines as HTML."""
    return lines_of(warnings_text(warnings), "warning")


def bar(name: str, fraction: float, text: str, *, role: str = "progressbar") -> str:
    """Return a bar that a screen reader can read.

    Args:
        name: What is measured.
        fraction: 0 to 1.
        text: The value in words.
        role: ``progressbar``, or ``meter`` for a value that has no end.
    """
    percent = f"{min(1.0, max(0.0, fraction)):.0%}"
    return (
        f'<span class="avocado-bar" role="{role}" aria-label="{escape_line(name)}" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent[:-1]}" '
        f'aria-valuetext="{escape_line(text)}">'
        f'<span style="width:{percent}"></span></span>'
    )


def _row(stage: Stage, *, is_over: bool, has_panel: bool) -> str:
    is_stopped = is_over and stage.phase in _IN_PROGRESS
    phase = STOPPED if is_stopped else stage.phase.value
    mark = _STOPPED_MARK if is_stopped else MARKS[stage.phase]
    label = STOPPED if is_stopped else _PHASE_LABELS[stage.phase]
    is_running = stage.phase is Phase.STARTING and not is_over
    elapsed = ""
    if stage.elapsed_s and stage.phase is not Phase.WAITING:
        elapsed = format_duration(stage.elapsed_s)
    detail = stage.detail
    panel = ""
    if stage.failure is not None and stage.phase in _FAILING and has_panel:
        # The panel's first line would repeat the detail.
        detail = "" if detail == stage.failure.problem else detail
        has_log = is_over or stage.phase is Phase.FAILED
        panel = failure_panel(stage.failure, has_log=has_log)
    amount = _amount(stage if is_running else _at_rest(stage), is_running=is_running)
    return (
        f'<div class="avocado-stage" role="listitem" '
        f'data-stage="{escape_line(stage.name)}" data-phase="{phase}">'
        f'<span class="avocado-mark" role="img" aria-label="{label}">{mark}</span> '
        f'<span class="avocado-name">{escape_line(stage.name)}</span> '
        f'<span class="avocado-detail">{escape_line(detail)}{amount}</span> '
        f'<span class="avocado-time">{elapsed}</span>{panel}</div>'
    )


def _at_rest(stage: Stage) -> Stage:
    """Return a stage with a rate of 0, so that no remaining time is shown."""
    if stage.progress is None:
        return stage
    return replace(stage, progress=replace(stage.progress, rate_bytes_s=0.0))


def _amount(stage: Stage, *, is_running: bool) -> str:
    progress = stage.progress
    if progress is None or stage.phase is Phase.READY:
        return ""
    text, drawn = progress_text(progress), ""
    if is_running:
        text = f"{progress.fraction:.0%} · {text}"
        drawn = bar(stage.name, progress.fraction, text)
    return f'{drawn}<span class="avocado-amount">{escape_line(text)}</span>'
