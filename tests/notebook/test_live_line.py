"""A line that tells what is being done."""

from __future__ import annotations

from dataclasses import replace

from spicy_avocado_magic.notebook.live_line import LiveLine
from spicy_avocado_magic.text import REHEARSAL_MARK

from .conftest import READY, Session


def test_a_notebook_has_one_display_that_changes_slowly(bare: Session) -> None:
    """A new step at once, its details at most four times a second."""
    now = [0.0]
    line = LiveLine(READY, in_notebook=True, clock=lambda: now[0])
    line.show("")
    for number in range(100):
        now[0] = number / 100
        line.show(f"pulling: {number} MB")
    line.show("making: <b>\x1b[2J")
    texts = [shown["data"]["text/plain"] for shown in bare.displays]
    assert len(texts) == 4 + 1
    assert texts[0] == "pulling: 0 MB"
    last = bare.displays[-1]["data"]
    assert "<b>" not in last["text/html"]
    assert "\x1b" not in last["text/plain"]


def test_a_terminal_gets_a_line_for_each_step(bare: Session) -> None:
    """Not one for each byte."""
    line = LiveLine(READY, in_notebook=False)
    for text in ("", "pulling: 1", "pulling: 2", "making", "making: x"):
        line.show(text)
    assert bare.printed() == "pulling: 1\nmaking\n"


def test_a_rehearsal_is_marked(bare: Session) -> None:
    """On every output."""
    state = replace(READY, rehearsal=True)
    LiveLine(state, in_notebook=True).show("making")
    data = bare.displays[0]["data"]
    assert all(REHEARSAL_MARK in text for text in data.values())
    LiveLine(state, in_notebook=False).show("making")
    assert REHEARSAL_MARK in bare.printed()
