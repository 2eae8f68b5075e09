"""A ``State`` in a notebook: one display, updated in place, or lines in a terminal."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from ..secrets import plain_text
from ..state import Phase, Progress, Stage, State
from ..text import (
    REHEARSAL_MARK,
    bytes_text,
    curl_line,
    failure_lines,
    handover_text,
    key_text,
    metrics_text,
    narrate,
    progress_lines,
    progress_text,
    seconds_text,
    stage_line,
    status_text,
)

if TYPE_CHECKING:
    from ..client.ending import Ended

_SHORTEST_PAUSE_S: Final = 0.25
CELL: Final = "padding:1px 10px 1px 0;text-align:left;vertical-align:top"
_FRAME: Final = (
    "border-left:3px solid currentColor;padding:2px 0 2px 10px;"
    "font-family:sans-serif;color:inherit;background:transparent"
)


class View(Protocol):
    """Shows states while they come; leaving it shows the last one."""

    def show(self, state: State) -> None:
        """Show where things are."""

    def hand_over(
        self, state: State, headline: str, *, show_key: bool, show_token: bool = False
    ) -> None:
        """Show URL, key and how to use them."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class CardView:
    """One display of a notebook, redrawn at most four times a second."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._handle: Any = None
        self._drawn_at = float("-inf")
        self._pending: State | None = None

    def show(self, state: State) -> None:
        """Draw a state, or keep it for later if the last was drawn just now."""
        self._pending = state
        if self._clock() - self._drawn_at >= _SHORTEST_PAUSE_S:
            self._draw_pending()

    def hand_over(
        self, state: State, headline: str, *, show_key: bool, show_token: bool = False
    ) -> None:
        """Put URL, key and the rest below the stages."""
        self._pending = None
        text = handover_text(state, show_key=show_key, show_token=show_token)
        stages = "\n".join(progress_lines(state))
        self._draw(
            frame(
                state,
                _stages(state)
                + _warnings(state)
                + f"<div>{html.escape(headline)}</div>"
                + _handover(state, show_key=show_key, show_token=show_token),
            ),
            f"{stages}\n\n{headline}\n{text.removeprefix(REHEARSAL_MARK).lstrip()}",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._draw_pending()

    def _draw_pending(self) -> None:
        state, self._pending = self._pending, None
        if state is not None:
            markup = frame(state, _stages(state) + _warnings(state))
            self._draw(markup, "\n".join(progress_lines(state)))

    def _draw(self, markup: str, text: str) -> None:
        from IPython.display import display

        bundle = {"text/html": markup, "text/plain": text}
        self._drawn_at = self._clock()
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class LineView:
    """A line whenever there is something new to say, for terminals."""

    def __init__(self) -> None:
        self._narrate = narrate(lambda text: print(text, end=""))  # noqa: T201

    def show(self, state: State) -> None:
        """Print what is new."""
        self._narrate(state)

    def hand_over(
        self, state: State, headline: str, *, show_key: bool, show_token: bool = False
    ) -> None:
        """Print URL, key and the rest."""
        text = handover_text(state, show_key=show_key, show_token=show_token)
        say(f"\n{headline}\n{text}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


def say(text: str, *, rehearsal: bool = False) -> None:
    """Print a plain line, marked if it is of a rehearsal."""
    print(f"{REHEARSAL_MARK}\n{text}" if rehearsal else text)  # noqa: T201


def show_status(state: State, *, in_notebook: bool) -> None:
    """Show everything about a running service, once."""
    if not in_notebook:
        say(status_text(state))
        return
    from IPython.display import display

    facts = [
        line.partition(" ")[::2]
        for line in status_text(state).partition("\n\n")[2].splitlines()
    ]
    failures = [
        line
        for stage in state.stages
        if stage.failure is not None
        for line in failure_lines(stage.failure)
    ]
    markup = _stages(state) + _warnings(state) + _lines(failures) + _facts(facts)
    bundle = {"text/html": frame(state, markup), "text/plain": status_text(state)}
    display(bundle, raw=True)


def ended_text(ended: Ended) -> str:
    """Return in a line what was ended, and that nothing is left."""
    if ended.purged is not None:
        names = ", ".join(ended.purged.releases) or "nothing: no Ollama was installed"
        freed = bytes_text(ended.purged.freed_bytes)
        return f"Removed {names}. {freed} freed; your models are untouched."
    if not ended.was_running:
        return f"Cleared what a dead service had left: {', '.join(ended.processes)}."
    return (
        f"Ended in {seconds_text(ended.seconds)}: {', '.join(ended.processes)}. "
        "Nothing is left: no process, no open port, no file with a secret."
    )


def frame(state: State, markup: str) -> str:
    """Return the frame of all our displays, marked if it is of a rehearsal."""
    mark = f"<div><b>{_text(REHEARSAL_MARK)}</b></div>" if state.rehearsal else ""
    return f'<div style="{_FRAME}">{mark}{markup}</div>'


def _stages(state: State) -> str:
    rows = "".join(_stage(stage) for stage in state.stages)
    return f'<table style="border-collapse:collapse">{rows}</table>'


def _stage(stage: Stage) -> str:
    mark = stage_line(stage)[0]
    bar = ""
    if stage.progress is not None and stage.phase is Phase.STARTING:
        bar = _bar(stage.name, stage.progress)
    parts = [plain_text(stage.detail)] if stage.detail else []
    if stage.progress is not None:
        parts.append(progress_text(stage.progress))
    took = ""
    if stage.elapsed_s and stage.phase is not Phase.WAITING:
        took = seconds_text(stage.elapsed_s)
    return (
        f'<tr style="background:transparent"><td style="{CELL}">'
        f'<span aria-label="{_text(stage.phase.value)}">{mark}</span></td>'
        f'<td style="{CELL}">{_text(stage.name)}</td>'
        f'<td style="{CELL}">{_text(" · ".join(parts))}{bar}</td>'
        f'<td style="{CELL}">{took}</td></tr>'
    )


def _bar(name: str, progress: Progress) -> str:
    percent = f"{progress.fraction:.0%}"
    return (
        f'<div role="progressbar" aria-label="{_text(name)}" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{percent[:-1]}" '
        'style="width:220px;height:6px;border:1px solid currentColor">'
        f'<div style="width:{percent};height:100%;background:currentColor"></div></div>'
    )


def _warnings(state: State) -> str:
    return _lines([f"! {warning}" for warning in state.warnings])


def _handover(state: State, *, show_key: bool, show_token: bool) -> str:
    models = ", ".join(model.name for model in state.models)
    facts = [
        ("url", state.url or "(none: --local)"),
        ("key", key_text(state, show_key=show_key)),
        ("local", state.local_url),
        ("models", models),
    ]
    if state.metrics_token:
        facts.append(("metrics", metrics_text(state, show_token=show_token)))
    curl = _text(curl_line(state, show_key=show_key))
    return (
        f'{_facts(facts)}<pre style="white-space:pre-wrap;background:transparent;'
        f'color:inherit">{curl}</pre>'
    )


def _facts(facts: list[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr style="background:transparent"><td style="{CELL}">{_text(name)}</td>'
        f'<td style="{CELL}">{_text(value.strip())}</td></tr>'
        for name, value in facts
    )
    return f'<table style="border-collapse:collapse">{rows}</table>'


def _lines(lines: list[str]) -> str:
    return "".join(f"<div>{_text(line)}</div>" for line in lines)


def _text(text: str) -> str:
    return html.escape(plain_text(text))
