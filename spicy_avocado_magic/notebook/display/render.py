"""What the card shows: on the way, when all is ready, and when it went wrong."""

from __future__ import annotations

from collections.abc import Sequence
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
    MOST_BYTES,
    RichOutput,
    cut_to_bytes,
    details,
    facts_table,
    few,
    one_line,
    preformatted,
    truncate,
)
from .stages import (
    LINE_CHARS,
    WARNINGS_SHOWN,
    failure_panel,
    stages_list,
    stages_text,
    warnings_list,
)
from .theme import card_header, wrap_card

if TYPE_CHECKING:
    from ...client.snippets import Snippet

_MODELS_NAMED: Final = 3
_CODE_CHARS: Final = 2_000
_FOLDS_BYTES: Final = 10_000
"""Of all snippets; the usual ten take about half of it."""
_TWIN_BYTES: Final = 6_000
"""Of a text that is shown in both forms because the markup would be too large."""


def render_progress(state: State, *, seconds: float) -> RichOutput:
    """Return the card of something that is under way.

    Args:
        state: Where things are.
        seconds: Since it began.
    """
    title = f"Starting {models_text(state)}"
    if state.is_ready:
        title = f"Serving {models_text(state)}"
    took = format_duration(seconds)
    markup = (
        card_header(title, took)
        + stages_list(state.stages)
        + warnings_list(state.warnings)
    )
    lines = [f"{title} · {took}", *stages_text(state), *_warnings_text(state)]
    return bounded_output(state, markup, lines, phase="starting", label=title)


def render_ready(
    state: State,
    headline: str,
    *,
    show_key: bool,
    show_token: bool = False,
    snippets: Sequence[Snippet] = (),
) -> RichOutput:
    """Return the calm card of a service that is ready.

    Args:
        state: Of the service.
        headline: How it became so.
        show_key: Whether a key that was made may be seen whole.
        show_token: Whether the token for scrapers may be.
        snippets: Each in a fold of its own; a curl line where there is none, or
            where all would be too large for a message.
    """
    curl = curl_line(state, show_key=show_key)
    folds = "".join(
        details(one.title, preformatted(one.code, _CODE_CHARS), kind="snippet")
        for one in snippets
    )
    if folds and len(folds.encode()) <= _FOLDS_BYTES:
        folds = f'<span class="avocado-more">Use it from</span>{folds}'
    else:
        folds = preformatted(curl, _CODE_CHARS)
    markup = (
        card_header(f"✓ {headline}")
        + facts_table(_facts(state, show_key=show_key, show_token=show_token))
        + warnings_list(state.warnings)
        + f'<div class="avocado-folds">{folds}</div>'
        + details(_how_long(state.stages), stages_list(state.stages), kind="stages")
    )
    told = connection_details(state, show_key=show_key, show_token=show_token)
    lines = [
        *stages_text(state),
        *_warnings_text(state),
        "",
        f"✓ {one_line(headline)}",
        told.removeprefix(REHEARSAL_MARK).lstrip(),
    ]
    return bounded_output(
        state, markup, lines, phase="ready", label="Spicy Avocado is ready"
    )


def render_stopped(
    state: State, *, seconds: float, failure: Failure | None
) -> RichOutput:
    """Return the card of something that ended before it was ready; it stays so.

    Args:
        state: The last that was heard.
        seconds: Since it began.
        failure: Why it ended; None if the cell was stopped otherwise.
    """
    is_stopped = failure is None or failure.kind == Interrupted.__name__
    phase = "stopped" if is_stopped else "failed"
    how = "■ Stopped" if is_stopped else "✗ Not started"
    title, after = f"{how}: {models_text(state)}", f"after {format_duration(seconds)}"
    panel, lines = "", []
    if failure is not None:
        lines = [truncate(line, LINE_CHARS) for line in failure_lines(failure)]
        told = {stage.failure.problem for stage in state.stages if stage.failure}
        panel = "" if failure.problem in told else failure_panel(failure)
    markup = (
        card_header(title, after)
        + panel
        + stages_list(state.stages, is_over=True)
        + warnings_list(state.warnings)
    )
    lines = [
        f"{title} · {after}",
        *stages_text(state, is_over=True),
        *_warnings_text(state),
        *lines,
    ]
    return bounded_output(state, markup, lines, phase=phase, label=title)


def bounded_output(
    state: State, markup: str, lines: Sequence[str], *, phase: str, label: str
) -> RichOutput:
    """Return a picture of bounded size, marked if it is of a rehearsal.

    One that would be too large shows its twin in plain text, cut.
    """
    marked = [REHEARSAL_MARK, *lines] if state.rehearsal else lines
    text = strip_control_chars("\n".join(marked))
    whole = RichOutput(
        html=wrap_card(markup, phase=phase, label=label, rehearsal=state.rehearsal),
        text=text,
    )
    most_bytes = _TWIN_BYTES
    while whole.size_bytes > MOST_BYTES:
        short = cut_to_bytes(text, most_bytes)
        code = preformatted(short, len(short))
        whole = RichOutput(
            html=wrap_card(code, phase=phase, label=label, rehearsal=state.rehearsal),
            text=short,
        )
        most_bytes //= 2
    return whole


def models_text(state: State) -> str:
    """Return the wanted models, the first few by name."""
    names = [one_line(model.name, 60) for model in state.models]
    return ", ".join(few(names, _MODELS_NAMED)) or "the service"


def _facts(state: State, *, show_key: bool, show_token: bool) -> list[tuple[str, str]]:
    facts = [
        ("URL", state.url or "(none: --local)"),
        ("key", key_text(state, show_key=show_key)),
        ("local", state.local_url),
        ("models", ", ".join(model.name for model in state.models)),
    ]
    if state.metrics_token:
        facts.append(("metrics", metrics_text(state, show_token=show_token)))
    return facts


def _how_long(stages: Sequence[Stage]) -> str:
    """Return the title of the fold that the stages collapse into."""
    done = [stage for stage in stages if stage.phase is Phase.READY]
    longest = max(done, key=lambda stage: stage.elapsed_s, default=None)
    title = f"{len(done)} stages ready" if len(done) != 1 else "1 stage ready"
    if longest is not None and longest.elapsed_s:
        title += f", the longest {longest.name}: {format_duration(longest.elapsed_s)}"
    return title


def _warnings_text(state: State) -> list[str]:
    return [f"! {one_line(warning)}" for warning in few(state.warnings, WARNINGS_SHOWN)]


def render_accepted(
    state: State, headline: str, *, show_key: bool, show_token: bool = False
) -> RichOutput:
    """Return a card that nobody will redraw, so it does not say how far things are."""
    facts = _accepted_facts(state, show_key=show_key, show_token=show_token)
    told = accepted_text(state, headline, show_key=show_key, show_token=show_token)
    markup = card_header(f"→ {headline}") + facts_table(facts)
    return bounded_output(
        state, markup, [told], phase="starting", label="Spicy Avocado"
    )


def accepted_text(
    state: State, headline: str, *, show_key: bool, show_token: bool = False
) -> str:
    """Return the same as lines of plain text."""
    facts = _accepted_facts(state, show_key=show_key, show_token=show_token)
    lines = [f"{name:<6} {strip_control_chars(value)}" for name, value in facts]
    return "\n".join([f"→ {one_line(headline)}", *lines])


def _accepted_facts(
    state: State, *, show_key: bool, show_token: bool
) -> list[tuple[str, str]]:
    facts = [("key", key_text(state, show_key=show_key))]
    if state.models:
        facts.insert(0, ("models", ", ".join(model.name for model in state.models)))
    if state.metrics_token:
        metrics = metrics_text(state, show_token=show_token)
        facts.append(("metrics", metrics.removeprefix(f"{NO_PORT_YET}, ")))
    return facts
