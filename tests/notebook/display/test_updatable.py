"""A display that is updated in place."""

from __future__ import annotations

import pytest
from IPython.display import DisplayHandle

from spicy_avocado_magic.notebook.display.html import RichOutput
from spicy_avocado_magic.notebook.display.updatable import UpdatableOutput

from ..conftest import Session


def test_an_output_is_displayed_once_and_then_replaced(bare: Session) -> None:
    """Each update has the display id of the first."""
    output = UpdatableOutput()
    for number in range(3):
        output.update(RichOutput(html=f"<b>{number}</b>", text=str(number)))
    first, *others = bare.displays
    assert not first["update"]
    assert all(other["update"] for other in others), "a second display was made"
    assert len({shown["transient"]["display_id"] for shown in bare.displays}) == 1
    assert others[-1]["data"] == {"text/html": "<b>2</b>", "text/plain": "2"}


def test_the_same_output_is_not_sent_again(bare: Session) -> None:
    """It would flicker."""
    output = UpdatableOutput()
    for _ in range(3):
        output.update(RichOutput(html="<b>x</b>", text="x"))
    assert len(bare.displays) == 1


def test_an_interrupt_while_sending_causes_no_second_display(
    bare: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may arrive after the first was sent, before the call returns."""
    original = DisplayHandle.display

    def interrupted(handle: DisplayHandle, *given: object, **more: object) -> None:
        original(handle, *given, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(DisplayHandle, "display", interrupted)
    output = UpdatableOutput()
    with pytest.raises(KeyboardInterrupt):
        output.update(RichOutput(html="<b>1</b>", text="1"))
    output.update(RichOutput(html="<b>2</b>", text="2"))
    assert [shown["update"] for shown in bare.displays] == [False, True], (
        "it is displayed twice"
    )
