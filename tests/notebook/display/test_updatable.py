"""One display, replaced in place."""

from __future__ import annotations

import pytest
from IPython.display import DisplayHandle

from spicy_avocado_magic.notebook.display.html import RichOutput
from spicy_avocado_magic.notebook.display.updatable import UpdatableOutput

from ..conftest import Session


def test_a_picture_is_displayed_once_and_then_replaced(bare: Session) -> None:
    """By the id of the first, which a frontend replaces."""
    drawing = UpdatableOutput()
    for number in range(3):
        drawing.update(RichOutput(html=f"<b>{number}</b>", text=str(number)))
    first, *others = bare.displays
    assert not first["update"]
    assert all(other["update"] for other in others), "a second display was made"
    assert len({one["transient"]["display_id"] for one in bare.displays}) == 1
    assert others[-1]["data"] == {"text/html": "<b>2</b>", "text/plain": "2"}


def test_the_same_picture_is_not_sent_again(bare: Session) -> None:
    """Nothing flickers that has not changed."""
    drawing = UpdatableOutput()
    for _ in range(3):
        drawing.update(RichOutput(html="<b>x</b>", text="x"))
    assert len(bare.displays) == 1


def test_an_interrupt_on_the_way_makes_no_second_display(
    bare: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may come when the first is sent, and we do not know it yet."""
    plain = DisplayHandle.display

    def interrupted(handle: DisplayHandle, *given: object, **more: object) -> None:
        plain(handle, *given, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(DisplayHandle, "display", interrupted)
    drawing = UpdatableOutput()
    with pytest.raises(KeyboardInterrupt):
        drawing.update(RichOutput(html="<b>1</b>", text="1"))
    drawing.update(RichOutput(html="<b>2</b>", text="2"))
    assert [one["update"] for one in bare.displays] == [False, True], "it stands twice"
