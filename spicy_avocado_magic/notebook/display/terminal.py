"""The card's twin in a terminal: a line that moves, and one for all that is settled."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TextIO

from ...client.state_text import (
    REHEARSAL_MARK,
    connection_details,
    print_progress,
    progress_text,
    stage_line,
)
from ...protocol.state import Phase, Stage, State
from ...system.redaction import strip_control_chars
from .html import few, one_line
from .render import accepted_text

if TYPE_CHECKING:
    from ...client.snippets import Snippet

_SETTLED: Final = (Phase.READY, Phase.BACKOFF, Phase.FAILED)
_CLEAR_LINE: Final = "\r\x1b[K"
_CLEAR_BELOW: Final = "\x1b[J"


class TerminalScreen:
    """A terminal's last lines, which are written over.

    Args:
        out: Where to write; by default standard output as it then is.
        size: How large the terminal is.
    """

    def __init__(
        self,
        out: TextIO | None = None,
        size: Callable[[], os.terminal_size] = shutil.get_terminal_size,
    ) -> None:
        self._out = out or sys.stdout
        self._size = size
        self._height = 0

    @property
    def is_terminal(self) -> bool:
        """Whether what is written can be written over."""
        return self._out.isatty() and os.environ.get("TERM") != "dumb"

    def settle(self, text: str) -> None:
        """Write lines that stay."""
        self._write(f"{self._rewound()}{strip_control_chars(text)}\n")

    def replace(self, lines: Sequence[str]) -> None:
        """Write lines that the next ones replace; what does not fit is cut off."""
        size = self._size()
        width, height = max(20, size.columns - 1), max(2, size.lines - 1)
        shown = [
            _fitted(strip_control_chars(line), width) for line in few(lines, height - 1)
        ]
        text = self._rewound() + "\n".join(shown)
        self._height = len(shown)
        self._write(text)

    def leave(self) -> None:
        """Keep the last lines, and go on below them."""
        if self._height:
            self._height = 0
            self._write("\n")

    def _rewound(self) -> str:
        """Return what takes the cursor back to the first line, and clears."""
        height, self._height = self._height, 0
        if not height:
            return ""
        up = f"\x1b[{height - 1}A" if height > 1 else ""
        return f"{_CLEAR_LINE}{up}\r{_CLEAR_BELOW}"

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


class TerminalView:
    """Settled stages a line each, above one line of what is under way.

    Where nothing can be written over, such as in a pipe, a line whenever a stage has
    something new to say.
    """

    def __init__(self, screen: TerminalScreen | None = None) -> None:
        self._screen = screen or TerminalScreen()
        self._narrate = print_progress(
            lambda text: self._screen.settle(text.rstrip("\n"))
        )
        self._told: dict[str, tuple[Phase, str]] = {}
        self._warned: set[str] = set()
        self._is_marked = False

    def show(self, state: State) -> None:
        """Write what is settled, and how far the rest is."""
        if not self._screen.is_terminal:
            self._narrate(state)
            return
        for line in self._news(state):
            self._screen.settle(line)
        under_way = progress_line(state)
        self._screen.replace([under_way] if under_way else [])

    def show_ready(
        self,
        state: State,
        headline: str,
        *,
        show_key: bool,
        show_token: bool = False,
        snippets: Sequence[Snippet] = (),  # noqa: ARG002  (a curl line says enough)
    ) -> None:
        """Write URL, key and the rest."""
        text = connection_details(state, show_key=show_key, show_token=show_token)
        self._screen.settle(f"\n{headline}\n{text}")

    def show_accepted(
        self,
        state: State,
        headline: str,
        *,
        show_key: bool,
        show_token: bool = False,
    ) -> None:
        """Write what goes on without this cell."""
        text = accepted_text(state, headline, show_key=show_key, show_token=show_token)
        self._screen.settle(f"{REHEARSAL_MARK}\n{text}" if state.rehearsal else text)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._screen.replace([])

    def _news(self, state: State) -> list[str]:
        lines = []
        if state.rehearsal and not self._is_marked:
            self._is_marked = True
            lines.append(REHEARSAL_MARK)
        lines += [f"! {one_line(w)}" for w in state.warnings if w not in self._warned]
        self._warned.update(state.warnings)
        for stage in state.stages:
            news = (stage.phase, stage.detail)
            if stage.phase in _SETTLED and self._told.get(stage.name) != news:
                lines.append(stage_line(stage))
            self._told[stage.name] = news
        return lines


def progress_line(state: State) -> str:
    """Return in a line what is under way, the largest download first."""
    running = [stage for stage in state.stages if stage.phase is Phase.STARTING]
    running.sort(key=lambda stage: stage.progress is None)
    return "  ".join(_told(stage) for stage in running)


def _fitted(line: str, width: int) -> str:
    """Return a line cut to so many columns; some letters take two."""
    columns = 0
    for index, letter in enumerate(line):
        columns += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if columns > width:
            return f"{line[: max(0, index - 2)]}…"
    return line


def _told(stage: Stage) -> str:
    if stage.progress is None:
        return one_line(f"… {stage.name} {stage.detail}")
    percent = f"{stage.progress.fraction:.0%}"
    return f"… {stage.name} {percent}, {progress_text(stage.progress)}"
