"""Stages as rows: state, what is done, a bar with bytes, rate and time left, time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ...client.state_text import MARKS, progress_text, stage_line
from ...formatting import format_duration
from ...protocol.state import Failure, Phase, Stage, State
from ...system.redaction import strip_control_chars
from .html import details, escape_line, few, lines_of, preformatted, truncate

STOPPED: Final = "stopped"
"""What a stage is that was under way when its cell ended."""
_STOPPED_MARK: Final = "■"
_SPOKEN: Final = {
    Phase.OFF: "not wanted",
    Phase.WAITING: "waiting",
    Phase.STARTING: "under way",
    Phase.READY: "ready",
    Phase.BACKOFF: "tried again soon",
    Phase.FAILED: "failed",
}
_UNDER_WAY: Final = (Phase.STARTING, Phase.BACKOFF)
_TROUBLED: Final = (Phase.BACKOFF, Phase.FAILED)
LINE_CHARS: Final = 400
"""Of one line of a log."""
WARNINGS_SHOWN: Final = 5


def stages_list(
    stages: Iterable[Stage], *, is_over: bool = False, has_panels: bool = True
) -> str:
    """Return stages below each other.

    Args:
        stages: In the order in which they are shown.
        is_over: Whether the cell has ended, so that nothing is under way any more.
        has_panels: Whether a stage tells its failure with remedy and log.
    """
    rows = "".join(
        _row(stage, is_over=is_over, has_panel=has_panels) for stage in stages
    )
    return f'<div class="avocado-stages" role="list">{rows}</div>'


def stages_text(state: State, *, is_over: bool = False) -> list[str]:
    """Return the same stages as lines of plain text."""
    lines = []
    for stage in state.stages:
        shown = _at_rest(stage) if is_over else stage
        line = strip_control_chars(stage_line(shown))
        if is_over and stage.phase in _UNDER_WAY:
            line = f"{_STOPPED_MARK}{line[1:]}"
        lines.append(line)
    return lines


def failure_panel(failure: Failure, *, has_log: bool = True) -> str:
    """Return cause, remedy, and in a fold the last lines of the log.

    Args:
        failure: What went wrong.
        has_log: Whether the log belongs here; a fold that is redrawn would close.
    """
    markup = (
        f'<div class="avocado-problem">{escape_line(failure.problem)}</div>'
        f'<div class="avocado-remedy">→ {escape_line(failure.remedy)}</div>'
    )
    if failure.log_tail and has_log:
        count = len(failure.log_tail)
        title = f"Last {count} lines of its log" if count > 1 else "Its last line"
        log = "\n".join(truncate(line, LINE_CHARS) for line in failure.log_tail)
        markup += details(title, preformatted(log, len(log)), kind="log")
    return f'<div class="avocado-failure">{markup}</div>'


def warnings_list(warnings: Iterable[str]) -> str:
    """Return warnings, a line each."""
    told = [f"! {warning}" for warning in few(tuple(warnings), WARNINGS_SHOWN)]
    return lines_of(told, "warning")


def bar(name: str, fraction: float, told: str, *, role: str = "progressbar") -> str:
    """Return a bar that can be read aloud.

    Args:
        name: Of what is measured.
        fraction: 0 to 1.
        told: The same in words.
        role: ``progressbar``, or ``meter`` for what does not come to an end.
    """
    percent = f"{min(1.0, max(0.0, fraction)):.0%}"
    return (
        f'<span class="avocado-bar" role="{role}" aria-label="{escape_line(name)}" '
        f'aria-valuemin="0" aria-valuemax="100" aria-valuenow="{percent[:-1]}" '
        f'aria-valuetext="{escape_line(told)}">'
        f'<span style="width:{percent}"></span></span>'
    )


def _row(stage: Stage, *, is_over: bool, has_panel: bool) -> str:
    is_stopped = is_over and stage.phase in _UNDER_WAY
    phase = STOPPED if is_stopped else stage.phase.value
    mark = _STOPPED_MARK if is_stopped else MARKS[stage.phase]
    spoken = STOPPED if is_stopped else _SPOKEN[stage.phase]
    is_running = stage.phase is Phase.STARTING and not is_over
    took = ""
    if stage.elapsed_s and stage.phase is not Phase.WAITING:
        took = format_duration(stage.elapsed_s)
    detail = stage.detail
    panel = ""
    if stage.failure is not None and stage.phase in _TROUBLED and has_panel:
        # The detail says the same as the panel's first line.
        detail = "" if detail == stage.failure.problem else detail
        has_log = is_over or stage.phase is Phase.FAILED
        panel = failure_panel(stage.failure, has_log=has_log)
    amount = _amount(stage if is_running else _at_rest(stage), is_running=is_running)
    return (
        f'<div class="avocado-stage" role="listitem" '
        f'data-stage="{escape_line(stage.name)}" data-phase="{phase}">'
        f'<span class="avocado-mark" role="img" aria-label="{spoken}">{mark}</span> '
        f'<span class="avocado-name">{escape_line(stage.name)}</span> '
        f'<span class="avocado-detail">{escape_line(detail)}{amount}</span> '
        f'<span class="avocado-time">{took}</span>{panel}</div>'
    )


def _at_rest(stage: Stage) -> Stage:
    """Return a stage whose download does not move, so that no time is promised."""
    if stage.progress is None:
        return stage
    return replace(stage, progress=replace(stage.progress, rate_bytes_s=0.0))


def _amount(stage: Stage, *, is_running: bool) -> str:
    progress = stage.progress
    if progress is None or stage.phase is Phase.READY:
        return ""
    told = progress_text(progress)
    drawn = ""
    if is_running:
        told = f"{progress.fraction:.0%} · {told}"
        drawn = bar(stage.name, progress.fraction, told)
    return f'{drawn}<span class="avocado-amount">{escape_line(told)}</span>'
