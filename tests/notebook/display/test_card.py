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
    """Return the current display."""
    return Page(session.displays[-1]["data"]["text/html"])


def end_with(error: BaseException, *, is_attended: bool = False) -> None:
    """Raise an error while the card shows a download."""

    def run() -> None:
        with CardView(Clock(), is_attended=is_attended) as view:
            view.show(PULLING)
            raise error

    with pytest.raises(type(error)):
        run()


def phases(session: Session) -> Sequence[object]:
    """Return the phase of the card at each draw."""
    pages = [Page(shown["data"]["text/html"]) for shown in session.displays]
    return [page.found("class", "avocado-card")[0]["data-phase"] for page in pages]


def test_a_card_is_drawn_once_and_then_updated_in_place(bare: Session) -> None:
    """One display, from the first state to the summary."""
    clock = Clock()
    with CardView(clock) as view:
        view.show(PULLING)
        clock.now = 1.0
        view.show(PULLING)
        view.show_result(UpResult(state=READY, headline="Launched.", show_key=True))
    assert [shown["update"] for shown in bare.displays] == [False, True, True]
    assert len({shown["transient"]["display_id"] for shown in bare.displays}) == 1
    assert phases(bare) == ["starting", "starting", "ready"]


def test_a_card_is_drawn_four_times_in_any_second_at_most(bare: Session) -> None:
    """Including the final draw, which does not wait."""
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
    assert len(times) == len(bare.displays), "a draw was not counted"
    assert len(times) > 25, "the card hardly moves"
    for index, at in enumerate(times):
        within = sum(at <= other <= at + 1.0 for other in times[index:])
        assert within <= 4, f"{within} draws in the second from {at}"


def test_the_last_state_is_drawn_even_if_it_came_too_soon(bare: Session) -> None:
    """If no result follows."""
    with CardView(Clock()) as view:
        view.show(PULLING)
        view.show(replace(PULLING, warnings=("the end.",)))
    assert "the end." in last_page(bare).text


def test_the_elapsed_time_is_measured_by_the_monotonic_clock(bare: Session) -> None:
    """Since the card was created."""
    clock = Clock()
    view = CardView(clock)
    clock.now = 90.0
    view.show(PULLING)
    assert "1 min 30 s" in last_page(bare).text


def test_a_failure_stays_in_the_card(bare: Session) -> None:
    """With cause, remedy and log."""
    end_with(EngineFailed("It died.", "Look.", log_tail=["why"]))
    assert phases(bare) == ["starting", "failed"]
    for text in ("It died.", "→ Look.", "why"):
        assert text in last_page(bare).text


def test_an_error_on_the_card_is_not_printed_in_full_again(bare: Session) -> None:
    """A person gets one short line; nbclient, which shows no card, gets everything."""
    error = EngineFailed("It died.", "Look.", log_tail=["why"])
    end_with(error, is_attended=True)
    assert error._render_traceback_() == [SHOWN_ABOVE]
    assert str(error) == "It died. Look.", "the exception has lost its text"
    end_with(error := EngineFailed("It died.", "Look.", log_tail=["why"]))
    assert error._render_traceback_() == ["✗ It died.", "  → Look.", "    │ why"]


def test_a_start_in_the_background_is_shown_as_accepted(bare: Session) -> None:
    """The card does not say that the cell is still starting something."""
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
    """With our error and with IPython's."""
    for error in (Interrupted("Stopped.", "Again."), KeyboardInterrupt()):
        end_with(error)
        assert phases(bare)[-1] == "stopped"
        assert last_page(bare).found("role", "progressbar") == []


def test_an_error_before_the_first_state_draws_nothing(bare: Session) -> None:
    """The error is printed in full."""
    error = EngineFailed("It died.", "Look.", log_tail=["why"])
    with pytest.raises(EngineFailed), CardView(Clock(), is_attended=True):
        raise error
    assert bare.displays == []
    assert "why" in str(error._render_traceback_()), "the log is shown nowhere"


def test_displays_of_one_cell_can_share_a_throttle(bare: Session) -> None:
    """A draw of one delays the next draw of the other."""
    clock = Clock()
    throttle = RedrawThrottle(clock)
    throttle.record_draw()
    view = CardView(clock, throttle)
    for clock.now in (0.1, 0.9):
        view.show(replace(PULLING, warnings=(str(clock.now),)))
    assert len(bare.displays) == 1
