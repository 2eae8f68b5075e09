"""The live card of an ``up``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from spicy_avocado_magic.errors import SHOWN_ABOVE, EngineFailed, Interrupted
from spicy_avocado_magic.notebook.display.card import CardView
from spicy_avocado_magic.notebook.display.render import UpResult
from spicy_avocado_magic.notebook.display.updatable import RedrawThrottle

from ..conftest import READY, Session
from .pages import PULLING, Page


class Clock:
    """A clock that a test turns."""

    now = 0.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now


def last_page(session: Session) -> Page:
    """Return what is shown now."""
    return Page(session.displays[-1]["data"]["text/html"])


def end_with(error: BaseException, *, is_attended: bool = False) -> None:
    """Let a cell that has begun to pull end with an error."""

    def run() -> None:
        with CardView(Clock(), is_attended=is_attended) as view:
            view.show(PULLING)
            raise error

    with pytest.raises(type(error)):
        run()


def phases(session: Session) -> Sequence[object]:
    """Return how the card called itself at each drawing."""
    pages = [Page(one["data"]["text/html"]) for one in session.displays]
    return [page.found("class", "avocado-card")[0]["data-phase"] for page in pages]


def test_a_card_is_drawn_once_and_then_updated_in_place(bare: Session) -> None:
    """One display, from the first state to the summary."""
    clock = Clock()
    with CardView(clock) as view:
        view.show(PULLING)
        clock.now = 1.0
        view.show(PULLING)
        view.show_result(UpResult(state=READY, headline="Launched.", show_key=True))
    assert [one["update"] for one in bare.displays] == [False, True, True]
    assert len({one["transient"]["display_id"] for one in bare.displays}) == 1
    assert phases(bare) == ["starting", "starting", "ready"]


def test_a_card_is_drawn_four_times_in_any_second_at_most(bare: Session) -> None:
    """Its summary, which does not wait, included."""
    clock = Clock()
    with CardView(clock) as view:
        times = []
        for step in range(1000):
            clock.now = step / 100
            before = len(bare.displays)
            view.show(replace(PULLING, warnings=(f"state {step}.",)))
            times += [clock.now] * (len(bare.displays) - before)
        view.show_result(UpResult(state=READY, headline="Launched.", show_key=True))
        times.append(clock.now)
    assert len(times) == len(bare.displays), "a drawing was not counted"
    assert len(times) > 25, "the card hardly moves"
    for index, at in enumerate(times):
        within = sum(at <= other <= at + 1.0 for other in times[index:])
        assert within <= 4, f"{within} drawings in the second from {at}"


def test_the_last_state_is_drawn_though_it_came_too_soon(bare: Session) -> None:
    """Where no hand-over follows."""
    with CardView(Clock()) as view:
        view.show(PULLING)
        view.show(replace(PULLING, warnings=("the end.",)))
    assert "the end." in last_page(bare).text


def test_how_long_it_takes_is_told_by_a_clock_that_is_never_set(bare: Session) -> None:
    """From the making of the card."""
    clock = Clock()
    view = CardView(clock)
    clock.now = 90.0
    view.show(PULLING)
    assert "1 min 30 s" in last_page(bare).text


def test_a_failure_stays_in_the_card(bare: Session) -> None:
    """With cause, remedy and log."""
    end_with(EngineFailed("It died.", "Look.", log_tail=["why"]))
    assert phases(bare) == ["starting", "failed"]
    for told in ("It died.", "→ Look.", "why"):
        assert told in last_page(bare).text


def test_a_person_is_not_told_twice(bare: Session) -> None:
    """Below the card is one short line; nbclient, which sees no card, gets it all."""
    error = EngineFailed("It died.", "Look.", log_tail=["why"])
    end_with(error, is_attended=True)
    assert error._render_traceback_() == [SHOWN_ABOVE]
    assert str(error) == "It died. Look.", "who catches it knows less"
    end_with(error := EngineFailed("It died.", "Look.", log_tail=["why"]))
    assert error._render_traceback_() == ["✗ It died.", "  → Look.", "    │ why"]


def test_what_goes_on_in_the_background_is_left_as_accepted(bare: Session) -> None:
    """Nothing of it says that the cell is starting something."""
    with CardView(Clock()) as view:
        view.show_result(
            UpResult(
                state=PULLING,
                headline="Started in the background.",
                show_key=True,
                is_accepted=True,
            )
        )
    assert len(bare.displays) == 1
    assert "Started in the background." in last_page(bare).text
    assert "Starting" not in last_page(bare).text


def test_an_interrupt_leaves_no_bar_that_will_never_move(bare: Session) -> None:
    """Ours, or IPython's own."""
    for error in (Interrupted("Stopped.", "Again."), KeyboardInterrupt()):
        end_with(error)
        assert phases(bare)[-1] == "stopped"
        assert last_page(bare).found("role", "progressbar") == []


def test_a_mistake_before_anything_began_draws_nothing(bare: Session) -> None:
    """The error alone says it."""
    error = EngineFailed("It died.", "Look.", log_tail=["why"])
    with pytest.raises(EngineFailed), CardView(Clock(), is_attended=True):
        raise error
    assert bare.displays == []
    assert "why" in str(error._render_traceback_()), "the log is shown nowhere"


def test_cards_of_one_cell_can_share_a_pace(bare: Session) -> None:
    """What has just drawn is heeded by the next one."""
    clock = Clock()
    pace = RedrawThrottle(clock)
    pace.record_draw()
    view = CardView(clock, pace)
    for clock.now in (0.1, 0.9):
        view.show(replace(PULLING, warnings=(str(clock.now),)))
    assert len(bare.displays) == 1
