"""The progress of ``%avocado_up`` in a terminal."""

from __future__ import annotations

import io
import os
import re
from dataclasses import replace

import pytest

from spicy_avocado_magic.client.state_text import REHEARSAL_MARK
from spicy_avocado_magic.notebook.display.render import UpResult
from spicy_avocado_magic.notebook.display.terminal import (
    TerminalScreen,
    TerminalView,
    progress_line,
)
from spicy_avocado_magic.protocol.state import Phase, Stage

from ..conftest import READY
from .pages import EVILS, PULLING, all_of, failed


class Terminal(io.StringIO):
    """A fake terminal that knows what is visible on its screen."""

    def isatty(self) -> bool:
        """Return True, as a terminal does."""
        return True

    @property
    def seen(self) -> list[str]:
        """Return the lines on the screen, by the few sequences that are used."""
        lines, row, column = [""], 0, 0
        for part in re.findall(r"\x1b\[\d*[A-Z]|.|\n", self.getvalue(), re.DOTALL):
            if part == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            elif part == "\r":
                column = 0
            elif part == "\x1b[K":
                lines[row] = lines[row][:column]
            elif part == "\x1b[J":
                del lines[row + 1 :]
                lines[row] = lines[row][:column]
            elif part.startswith("\x1b["):
                assert part.endswith("A"), f"{part!r} is not known here"
                row -= int(part[2:-1])
            else:
                lines[row] = lines[row][:column] + part + lines[row][column + 1 :]
                column += 1
        return [line for line in lines if line]


@pytest.fixture(autouse=True)
def _able(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def view_on(terminal: io.StringIO, columns: int = 80) -> TerminalView:
    """Return a view on a terminal of this width."""
    size = os.terminal_size((columns, 24))
    return TerminalView(TerminalScreen(terminal, lambda: size))


def test_a_long_download_is_one_moving_line() -> None:
    """Settled stages stay above it, once each."""
    terminal = Terminal()
    with view_on(terminal) as view:
        for done in range(0, 4 * 10**9, 10**7):
            pull = PULLING.stages[0]
            assert pull.progress is not None
            progress = replace(pull.progress, done_bytes=done)
            stages = (replace(pull, progress=progress), *PULLING.stages[1:])
            view.show(replace(PULLING, stages=stages))
        settled, moving = terminal.seen
        assert settled.startswith("✓ serve")
        assert moving.startswith("… pull 100%, 4.0 GB of 4.0 GB, 50.0 MB/s")
        view.show_result(UpResult(state=READY, headline="Launched.", show_key=True))
    assert not any(line.startswith("…") for line in terminal.seen)
    assert "Launched." in terminal.seen


def test_a_line_never_wraps() -> None:
    """A wrapped line could not be overwritten."""
    terminal = Terminal()
    with view_on(terminal, columns=30) as view:
        view.show(PULLING)
        assert len(terminal.seen[-1]) < 30
        wide = replace(PULLING.stages[2], phase=Phase.STARTING, detail="模" * 40)
        view.show(replace(PULLING, stages=(wide,)))
        assert terminal.seen[-1].startswith("… warm 模模模")
        assert terminal.seen[-1].count("模") < 12, "wide characters wrap"


def test_a_failed_cell_leaves_no_moving_line() -> None:
    """The failure is a settled line."""
    terminal = Terminal()

    def fail() -> None:
        with view_on(terminal) as view:
            view.show(PULLING)
            view.show(failed())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert any(line.startswith("✗ serve    The engine died.") for line in terminal.seen)
    assert not any(line.startswith("…") for line in terminal.seen)


def test_in_a_pipe_there_is_a_line_when_a_stage_changes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not one for each state, and no escape sequence; a warning is printed once."""
    warned = replace(PULLING, warnings=("No GPU.",))
    with TerminalView() as view:
        for _ in range(10):
            view.show(warned)
        view.show(READY)
        view.show_result(UpResult(state=READY, headline="Launched.", show_key=True))
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert "\x1b" not in printed, "a pipe is written to as if it were a terminal"
    assert sum(line.startswith("… pull") for line in lines) == 1
    assert sum(line.startswith("✓ pull") for line in lines) == 1
    assert lines.count("! No GPU.") == 1
    assert READY.url in printed


def test_a_dumb_terminal_is_treated_as_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would show the escape sequences."""
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal()
    with view_on(terminal) as view:
        view.show(PULLING)
    assert "\x1b" not in terminal.getvalue()


def test_a_terminal_marks_a_rehearsal_once_and_each_warning_once() -> None:
    """The mark is the first line."""
    terminal = Terminal()
    state = replace(PULLING, rehearsal=True, warnings=("No GPU.",))
    with view_on(terminal, columns=200) as view:
        view.show(state)
        view.show(state)
        assert terminal.seen[0] == REHEARSAL_MARK
        assert terminal.seen.count(REHEARSAL_MARK) == 1
        assert terminal.seen.count("! No GPU.") == 1


@pytest.mark.parametrize("evil", EVILS)
def test_control_characters_from_outside_are_removed(evil: str) -> None:
    """They could change the title or clear the screen."""
    terminal = Terminal()
    with view_on(terminal) as view:
        view.show(all_of(evil))
    ours = re.sub(r"\x1b\[(K|J|\d+A)", "", terminal.getvalue())
    assert "\x1b" not in ours
    assert "\x07" not in ours


def test_moving_lines_are_replaced_together() -> None:
    """As by ``%avocado_status --watch``; the last ones can be kept."""
    terminal = Terminal()
    screen = TerminalScreen(terminal, lambda: os.terminal_size((40, 24)))
    screen.replace(["one", "two", "three"])
    screen.replace(["four", "five    5"])
    assert terminal.seen == ["four", "five    5"], "columns are not kept"
    screen.leave()
    screen.settle("six")
    assert terminal.seen == ["four", "five    5", "six"]


def test_more_lines_than_the_terminal_has_are_counted() -> None:
    """Lines that scroll away could not be overwritten."""
    terminal = Terminal()
    screen = TerminalScreen(terminal, lambda: os.terminal_size((40, 5)))
    for _ in range(2):
        screen.replace([f"line {n}" for n in range(9)])
    assert terminal.seen == ["line 0", "line 1", "line 2", "… and 6 more"]


def test_the_moving_line_begins_with_the_download() -> None:
    """It takes the longest."""
    loading = Stage(name="warm", component="models", phase=Phase.STARTING)
    state = replace(PULLING, stages=(loading, *PULLING.stages))
    assert progress_line(state).startswith("… pull 25%, 1.0 GB of 4.0 GB")
    assert progress_line(state).endswith("… warm")
