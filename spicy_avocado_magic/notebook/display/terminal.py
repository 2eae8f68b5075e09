"""The progress of ``%avocado_up`` in a terminal: settled lines above a moving one."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self, TextIO

from ...client.state_text import (
    QUIET,
    print_progress,
    progress_text,
)
from ...protocol.state import Phase, Stage, State
from ...system.redaction import strip_control_chars
from .html import first_few, one_line
from .render import UpResult, result_text

_CLEAR_LINE: Final = "\r\x1b[K"
_CLEAR_BELOW: Final = "\x1b[J"


class TerminalScreen:
    """The last lines of a terminal, which can be overwritten.

    Args:
        out: Where to write; by default standard output as it is at that time.
        size: Returns the size of the terminal.
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
        """Whether lines can be overwritten."""
        return self._out.isatty() and os.environ.get("TERM") != "dumb"

    def settle(self, text: str) -> None:
        """Write lines that stay."""
        self._write(f"{self._rewound()}{strip_control_chars(text)}\n")

    def replace(self, lines: Sequence[str]) -> None:
        """Write lines that the next call overwrites, cut to the terminal's size."""
        size = self._size()
        width, height = max(20, size.columns - 1), max(2, size.lines - 1)
        shown = [
            _fit(strip_control_chars(line), width)
            for line in first_few(lines, height - 1)
        ]
        text = self._rewound() + "\n".join(shown)
        self._height = len(shown)
        self._write(text)

    def leave(self) -> None:
        """Keep the last lines, and continue below them."""
        if self._height:
            self._height = 0
            self._write("\n")

    def _rewound(self) -> str:
        """Return the codes that move the cursor to the first line and clear below."""
        height, self._height = self._height, 0
        if not height:
            return ""
        up = f"\x1b[{height - 1}A" if height > 1 else ""
        return f"{_CLEAR_LINE}{up}\r{_CLEAR_BELOW}"

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


class TerminalView:
    """A line for each settled stage, above one moving line for those in progress.

    Where lines cannot be overwritten, such as in a pipe, it writes a line for each
    change of a stage.
    """

    def __init__(self, screen: TerminalScreen | None = None) -> None:
        self._screen = screen or TerminalScreen()
        is_terminal = self._screen.is_terminal
        self._print_progress = print_progress(
            lambda text: self._screen.settle(text.rstrip("\n")),
            quiet=(*QUIET, Phase.STARTING) if is_terminal else QUIET,
        )

    def show(self, state: State) -> None:
        """Write the stages that have settled, and the progress of the others."""
        self._print_progress(state)
        moving = progress_line(state) if self._screen.is_terminal else ""
        self._screen.replace([moving] if moving else [])

    def show_result(self, result: UpResult) -> None:
        """Write URL, key and a line that uses them."""
        self._screen.settle(result_text(result))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._screen.replace([])


def progress_line(state: State) -> str:
    """Return the stages in progress on one line, those with a download first."""
    running = [stage for stage in state.stages if stage.phase is Phase.STARTING]
    running.sort(key=lambda stage: stage.progress is None)
    return "  ".join(_stage_progress(stage) for stage in running)


def _fit(line: str, width: int) -> str:
    """Return a line cut to so many columns; wide characters take two."""
    columns = 0
    for index, letter in enumerate(line):
        columns += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if columns > width:
            return f"{line[: max(0, index - 2)]}…"
    return line


def _stage_progress(stage: Stage) -> str:
    if stage.progress is None:
        return one_line(f"… {stage.name} {stage.detail}")
    percent = f"{stage.progress.fraction:.0%}"
    return f"… {stage.name} {percent}, {progress_text(stage.progress)}"
