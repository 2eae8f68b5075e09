"""The card of ``%avocado_up`` as HTML and as text: in progress, done, or stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ...client.state_text import (
    NO_PORT_YET,
    REHEARSAL_MARK,
    connection_details,
    curl_line,
    failure_lines,
    key_text,
    metrics_text,
)
from ...errors import Interrupted
from ...formatting import format_duration
from ...protocol.state import Failure, Phase, Stage, State
from ...system.redaction import strip_control_chars
from .html import (
    MAX_BYTES,
    RichOutput,
    cut_to_bytes,
    details,
    facts_table,
    first_few,
    one_line,
    preformatted,
    truncate,
)
from .stages import (
    LINE_CHARS,
    failure_panel,
    stages_list,
    stages_text,
    warnings_list,
    warnings_text,
)
from .theme import card_header, wrap_card

if TYPE_CHECKING:
    from ...client.snippets import Snippet

_MODELS_NAMED: Final = 3
_CODE_CHARS: Final = 2_000
_SNIPPETS_BYTES: Final = 10_000
"""Limit of all snippets together; the usual ten take about half of it."""
_TEXT_BYTES: Final = 6_000
"""Limit of a text that is shown in both forms because the markup was too large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpResult:
    """What an ``up`` shows when it has succeeded.

    Attributes:
        state: Of the service.
        headline: What was done.
        is_accepted: Whether the service is still starting in the background.
        show_key: Whether a generated key is shown in full.
        show_token: Whether the token for scrapers is.
        snippets: Code that uses the service; a curl line where there is none.
    """

    state: State
    headline: str
    is_accepted: bool = False
    show_key: bool = False
    show_token: bool = False
    snippets: Sequence[Snippet] = ()


def render_progress(state: State, *, seconds: float) -> RichOutput:
    """Return the card of a service that is starting.

    Args:
        state: Of the service.
        seconds: Since the start.
    """
    title = f"Starting {models_text(state)}"
    if state.is_ready:
        title = f"Serving {models_text(state)}"
    elapsed = format_duration(seconds)
    markup = (
        card_header(title, elapsed)
        + stages_list(state.stages)
        + warnings_list(state.warnings)
    )
    lines = [
        f"{title} · {elapsed}",
        *stages_text(state),
        *warnings_text(state.warnings),
    ]
    return bounded_output(state, markup, lines, phase="starting", label=title)


def render_result(result: UpResult) -> RichOutput:
    """Return the card of an ``up`` that has succeeded."""
    if result.is_accepted:
        # Nobody redraws this card, so it must not say how far the service is.
        markup = card_header(f"→ {result.headline}") + facts_table(_facts(result))
        lines = [_accepted_text(result)]
        label = "Spicy Avocado"
        phase = "starting"
    else:
        markup, lines = _ready_markup(result), _ready_lines(result)
        label = "Spicy Avocado is ready"
        phase = "ready"
    return bounded_output(result.state, markup, lines, phase=phase, label=label)


def result_text(result: UpResult) -> str:
    """Return the same for a terminal, which has shown the stages already."""
    if not result.is_accepted:
        return f"\n{result.headline}\n{_connection_details(result)}"
    text = _accepted_text(result)
    return f"{REHEARSAL_MARK}\n{text}" if result.state.rehearsal else text


def render_stopped(
    state: State, *, seconds: float, failure: Failure | None
) -> RichOutput:
    """Return the final card of an ``up`` that failed or was interrupted.

    Args:
        state: The last one that was received.
        seconds: Since the start.
        failure: Why it failed; None if the cell was interrupted by IPython.
    """
    is_stopped = failure is None or failure.kind == Interrupted.__name__
    phase = "stopped" if is_stopped else "failed"
    outcome = "■ Stopped" if is_stopped else "✗ Not started"
    title = f"{outcome}: {models_text(state)}"
    after = f"after {format_duration(seconds)}"
    panel, reasons = "", []
    if failure is not None:
        reasons = [truncate(line, LINE_CHARS) for line in failure_lines(failure)]
        shown = {stage.failure.problem for stage in state.stages if stage.failure}
        panel = "" if failure.problem in shown else failure_panel(failure)
    markup = (
        card_header(title, after)
        + panel
        + stages_list(state.stages, is_over=True)
        + warnings_list(state.warnings)
    )
    lines = [
        f"{title} · {after}",
        *stages_text(state, is_over=True),
        *warnings_text(state.warnings),
        *reasons,
    ]
    return bounded_output(state, markup, lines, phase=phase, label=title)


def bounded_output(
    state: State, markup: str, lines: Sequence[str], *, phase: str, label: str
) -> RichOutput:
    """Return an output of bounded size, marked if it is about a rehearsal.

    If the markup is too large, the text is shown in its place, cut.
    """
    marked = [REHEARSAL_MARK, *lines] if state.rehearsal else lines
    text = strip_control_chars("\n".join(marked))
    output = RichOutput(
        html=wrap_card(markup, phase=phase, label=label, rehearsal=state.rehearsal),
        text=text,
    )
    max_bytes = _TEXT_BYTES
    while output.size_bytes > MAX_BYTES:
        short = cut_to_bytes(text, max_bytes)
        code = preformatted(short, len(short))
        output = RichOutput(
            html=wrap_card(code, phase=phase, label=label, rehearsal=state.rehearsal),
            text=short,
        )
        max_bytes //= 2
    return output


def models_text(state: State) -> str:
    """Return the requested models, the first few by name."""
    names = [one_line(model.name, 60) for model in state.models]
    return ", ".join(first_few(names, _MODELS_NAMED)) or "the service"


def _ready_markup(result: UpResult) -> str:
    state = result.state
    code = "".join(
        details(snippet.title, preformatted(snippet.code, _CODE_CHARS), kind="snippet")
        for snippet in result.snippets
    )
    if code and len(code.encode()) <= _SNIPPETS_BYTES:
        code = f'<span class="avocado-more">Use it from</span>{code}'
    else:
        code = preformatted(curl_line(state, show_key=result.show_key), _CODE_CHARS)
    return (
        card_header(f"✓ {result.headline}")
        + facts_table(_facts(result))
        + warnings_list(state.warnings)
        + f'<div class="avocado-folds">{code}</div>'
        + details(_stages_title(state.stages), stages_list(state.stages), kind="stages")
    )


def _ready_lines(result: UpResult) -> list[str]:
    return [
        *stages_text(result.state),
        *warnings_text(result.state.warnings),
        "",
        f"✓ {one_line(result.headline)}",
        _connection_details(result).removeprefix(REHEARSAL_MARK).lstrip(),
    ]


def _connection_details(result: UpResult) -> str:
    return connection_details(
        result.state, show_key=result.show_key, show_token=result.show_token
    )


def _stages_title(stages: Sequence[Stage]) -> str:
    """Return the title of the fold that holds the stages."""
    done = [stage for stage in stages if stage.phase is Phase.READY]
    longest = max(done, key=lambda stage: stage.elapsed_s, default=None)
    title = f"{len(done)} stages ready" if len(done) != 1 else "1 stage ready"
    if longest is not None and longest.elapsed_s:
        title += f", the longest {longest.name}: {format_duration(longest.elapsed_s)}"
    return title


def _accepted_text(result: UpResult) -> str:
    facts = [
        f"{name:<6} {strip_control_chars(value)}" for name, value in _facts(result)
    ]
    return "\n".join([f"→ {one_line(result.headline)}", *facts])


def _facts(result: UpResult) -> list[tuple[str, str]]:
    state = result.state
    facts = [("key", key_text(state, show_key=result.show_key))]
    if not result.is_accepted:
        facts.insert(0, ("URL", state.url or "(none: --local)"))
        facts.append(("local", state.local_url))
    if state.models:
        facts.append(("models", ", ".join(model.name for model in state.models)))
    if state.metrics_token:
        metrics = metrics_text(state, show_token=result.show_token)
        facts.append(("metrics", metrics.removeprefix(f"{NO_PORT_YET}, ")))
    return facts
