"""A model's answer in a notebook and in a terminal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from spicy_avocado_magic.client.state_text import REHEARSAL_MARK
from spicy_avocado_magic.notebook.display.answer import (
    TAIL_CHARS,
    THINKING,
    NotebookAnswer,
    TerminalAnswer,
)
from spicy_avocado_magic.notebook.display.updatable import RedrawThrottle

from ..conftest import READY, Session

EVIL = "<img onerror=x>\x1b]0;t\x07"


def clock(*ticks: float) -> Callable[[], float]:
    """Return a clock that shows these times, then the last of them."""
    left = list(ticks)
    return lambda: left.pop(0) if len(left) > 1 else left[0]


def test_an_answer_is_drawn_at_most_four_times_a_second(bare: Session) -> None:
    """Pieces in between are in the next draw, and all of them in the last."""
    now = [0.0]
    card = NotebookAnswer(READY, RedrawThrottle(lambda: now[0]))
    for number in range(100):
        now[0] = number / 100
        card.add(f"{number} ")
    card.close("tiny: 100 tokens")
    drawn = [shown["data"]["text/plain"] for shown in bare.displays]
    assert len(drawn) == 3 + 1, "too many updates for a notebook"
    assert all(f"{number} " in drawn[-1] for number in range(100))
    assert drawn[-1].endswith("tiny: 100 tokens")


def _bytes(text: str) -> int:
    return len(text.encode())


@pytest.mark.parametrize("filling", ["x", "`a`", "語", "|a\n|-\n\n"])
def test_updates_stay_small_however_long_the_answer(
    bare: Session, filling: str
) -> None:
    """Only its end is shown while it arrives; the last draw has all of it."""
    card = NotebookAnswer(READY, RedrawThrottle(clock(0.0, 0.0, 1.1)))
    card.add("first " + filling * 20 * TAIL_CHARS)
    card.add(" last")
    coming = [sum(map(_bytes, s["data"].values())) for s in bare.displays]
    card.close("done")
    assert len(coming) == 2
    assert all(size < 20_000 for size in coming), "updates over 20 kB"
    data = bare.displays[-1]["data"]
    assert "first" in data["text/plain"]
    assert "last" in data["text/plain"]


def test_a_thinking_model_is_shown_as_thinking(bare: Session) -> None:
    """Otherwise it would seem to hang."""
    card = NotebookAnswer(READY)
    card.add("", thought="hm")
    assert THINKING in bare.displays[0]["data"]["text/plain"]


@pytest.mark.parametrize("rehearsal", [False, True])
def test_html_and_control_characters_are_removed(
    bare: Session, rehearsal: bool
) -> None:
    """In a notebook and in a terminal; a rehearsal is marked."""
    state = replace(READY, rehearsal=rehearsal)
    card = NotebookAnswer(state)
    words = TerminalAnswer(state)
    for view in (card, words):
        view.add(EVIL)
        view.close(f"note {EVIL}")
    printed = bare.printed()
    for data in [shown["data"] for shown in bare.displays]:
        assert "<img" not in data["text/html"]
        assert "\x1b" not in data["text/html"] + data["text/plain"]
        assert set(data) == {"text/html", "text/plain"}, "Markdown would run"
        assert all((REHEARSAL_MARK in text) is rehearsal for text in data.values())
    assert "\x1b" not in printed
    assert (REHEARSAL_MARK in printed) is rehearsal


def test_a_terminal_prints_each_piece(bare: Session) -> None:
    """Thinking is mentioned once."""
    words = TerminalAnswer(READY)
    words.add("", thought="hm")
    words.add("", thought="so")
    words.add("one ")
    words.add("two")
    words.close("tiny: 2 tokens")
    assert bare.printed() == f"{THINKING}\none two\ntiny: 2 tokens\n"
