"""A line of progress."""

from __future__ import annotations

from dataclasses import replace

from spicy_avocado_magic.client.state_text import REHEARSAL_MARK
from spicy_avocado_magic.notebook.display.updatable import ProgressLine, RedrawThrottle

from ..conftest import READY, Session


def test_a_notebook_gets_one_display_with_few_updates(bare: Session) -> None:
    """At most four a second; the last one does not wait."""
    now = [0.0]
    line = ProgressLine(
        READY, in_notebook=True, throttle=RedrawThrottle(lambda: now[0])
    )
    line.show("")
    for number in range(100):
        now[0] = number / 100
        line.show(f"pulling: {number} MB")
    line.show("making")
    line.end("made: <b>\x1b[2J")
    texts = [shown["data"]["text/plain"] for shown in bare.displays]
    assert len(texts) == 3 + 1
    assert texts[0] == "pulling: 0 MB"
    last = bare.displays[-1]["data"]
    assert "<b>" not in last["text/html"]
    assert "\x1b" not in last["text/plain"]


def test_a_step_that_came_too_soon_is_shown_later(bare: Session) -> None:
    """Also by a call without a text, as during a long step."""
    now = [0.0]
    line = ProgressLine(
        READY, in_notebook=True, throttle=RedrawThrottle(lambda: now[0])
    )
    assert not line.is_shown
    line.show("pulling")
    line.show("making")
    now[0] = 1.0
    line.show("")
    line.show("")
    texts = [shown["data"]["text/plain"] for shown in bare.displays]
    assert texts == ["pulling", "making"]
    assert line.is_shown


def test_a_terminal_gets_a_line_for_each_step(bare: Session) -> None:
    """Not one for each detail."""
    line = ProgressLine(READY, in_notebook=False)
    for text in ("", "pulling: 1", "pulling: 2", "making", "making: x"):
        line.show(text)
    line.end("made")
    assert bare.printed() == "pulling: 1\nmaking\nmade\n"


def test_a_rehearsal_is_marked(bare: Session) -> None:
    """In the notebook and in the terminal."""
    state = replace(READY, rehearsal=True)
    ProgressLine(state, in_notebook=True).show("making")
    data = bare.displays[0]["data"]
    assert all(REHEARSAL_MARK in text for text in data.values())
    ProgressLine(state, in_notebook=False).show("making")
    assert REHEARSAL_MARK in bare.printed()
