"""What is displayed, in a notebook and in a terminal."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from spicy_avocado_magic.client.ending import Ended
from spicy_avocado_magic.client.purging import Purged
from spicy_avocado_magic.notebook.view import (
    CardView,
    LineView,
    ended_text,
    show_status,
)
from spicy_avocado_magic.state import (
    Failure,
    Member,
    ModelState,
    Phase,
    Progress,
    Stage,
    State,
)
from spicy_avocado_magic.text import REHEARSAL_MARK, handover_text, progress_lines

from .conftest import KEY, READY, Session

EVIL = "<img src=x onerror=alert(1)>\x1b[31m"
PULLING = State(
    stages=(
        Stage(
            name="pull",
            component="models",
            phase=Phase.STARTING,
            detail="llama3",
            progress=Progress(done_bytes=25, total_bytes=100, rate_bytes_s=10),
        ),
    )
)


class Clock:
    """A clock that a test turns."""

    now = 0.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now


class Tags(HTMLParser):
    """Collects tags and attributes, and fails on what is left open."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(markup)
        assert self.open == [], f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open one."""
        self.seen.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the last one."""
        assert self.open.pop() == tag


def test_a_card_is_drawn_once_and_then_updated_in_place(bare: Session) -> None:
    """One display, whatever happens."""
    clock = Clock()
    with CardView(clock) as view:
        view.show(PULLING)
        clock.now = 1.0
        view.show(READY)
    view.hand_over(READY, "Launched.", show_key=True)
    first, *others = bare.displays
    assert not first["update"]
    assert all(other["update"] for other in others)
    ids = {output["transient"]["display_id"] for output in bare.displays}
    assert len(ids) == 1


def test_a_card_is_drawn_four_times_a_second_at_most(bare: Session) -> None:
    """A flood of states neither floods the browser nor loses its last one."""
    clock = Clock()
    with CardView(clock) as view:
        for step in range(100):
            clock.now = step / 100
            view.show(replace(PULLING, warnings=(f"state {step}.",)))
    assert len(bare.displays) <= 5
    assert "state 99." in bare.displays[-1]["data"]["text/plain"]


def test_the_last_state_is_drawn_when_the_cell_fails(bare: Session) -> None:
    """What failed can be seen."""
    failed = replace(PULLING, warnings=("the end.",))

    def fail() -> None:
        with CardView(Clock()) as view:
            view.show(PULLING)
            view.show(failed)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert "the end." in bare.displays[-1]["data"]["text/html"]


def test_a_card_has_a_plain_text_twin(bare: Session) -> None:
    """Where HTML is not shown the text says the same."""
    with CardView() as view:
        view.show(PULLING)
    view.hand_over(READY, "Launched.", show_key=True)
    texts = [output["data"]["text/plain"] for output in bare.displays]
    assert texts[0] == "\n".join(progress_lines(PULLING))
    assert texts[-1].endswith(handover_text(READY, show_key=True))


def test_metrics_are_handed_over_with_their_token(bare: Session) -> None:
    """Both forms of a card, and the lines of a terminal, show it when it is new."""
    token = "avocado-metrics-0123456789"
    state = replace(
        READY, metrics_url="http://127.0.0.1:1/metrics", metrics_token=token
    )
    for is_new in (True, False):
        CardView().hand_over(state, "Done.", show_key=False, show_token=is_new)
        for form in ("text/html", "text/plain"):
            shown = bare.displays[-1]["data"][form]
            assert "http://127.0.0.1:1/metrics" in shown, f"{form} names no URL"
            assert (token in shown) is is_new, f"{form} shows the token wrongly"


def test_the_bar_can_be_read_aloud(bare: Session) -> None:
    """A screen reader hears name and percentage."""
    CardView().show(PULLING)
    tags = Tags(bare.displays[0]["data"]["text/html"]).seen
    bars = [attrs for _, attrs in tags if attrs.get("role") == "progressbar"]
    assert len(bars) == 1
    assert bars[0]["aria-label"] == "pull"
    assert bars[0]["aria-valuenow"] == "25"


@pytest.mark.parametrize("rehearsal", [True, False])
def test_everything_from_outside_is_text(bare: Session, rehearsal: bool) -> None:
    """Nothing that a model, a server or a log says becomes markup."""
    failure = Failure(kind="X", problem=EVIL, remedy=EVIL, log_tail=(EVIL,))
    stage = Stage(
        name=EVIL, component="engine", phase=Phase.FAILED, detail=EVIL, failure=failure
    )
    state = State(
        pid=1,
        rehearsal=rehearsal,
        url=EVIL,
        local_url=EVIL,
        api_key=EVIL,
        key_is_generated=True,
        engine=EVIL,
        compute=EVIL,
        warnings=(EVIL,),
        stages=(stage,),
        models=(ModelState(name=EVIL),),
        log_path=EVIL,
    )
    with CardView() as view:
        view.show(state)
    view.hand_over(state, "Launched.", show_key=True)
    show_status(state, in_notebook=True)
    assert len(bare.displays) == 3
    for output in bare.displays:
        markup = output["data"]["text/html"]
        tags = {tag for tag, _ in Tags(markup).seen}
        assert tags <= {"div", "table", "tr", "td", "span", "pre", "b"}
        assert "\x1b" not in markup
        assert (REHEARSAL_MARK in markup) is rehearsal
        assert (REHEARSAL_MARK in output["data"]["text/plain"]) is rehearsal


def test_status_shows_why_a_stage_failed(bare: Session) -> None:
    """In the card as in the text."""
    failure = Failure(kind="EngineFailed", problem="It died.", remedy="Look.")
    stage = replace(PULLING.stages[0], phase=Phase.FAILED, failure=failure)
    show_status(replace(READY, stages=(stage,)), in_notebook=True)
    assert "It died." in bare.displays[0]["data"]["text/html"]
    assert KEY not in str(bare.displays), "status masks the key"


def test_a_terminal_gets_a_line_when_a_stage_changes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not one for each state; a warning is told once."""
    warned = replace(PULLING, warnings=("No GPU.",))
    with LineView() as view:
        for _ in range(10):
            view.show(warned)
        view.show(READY)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("…") for line in lines) == 1
    assert sum(line.startswith("✓") for line in lines) == 1
    assert lines.count("! No GPU.") == 1


def test_what_a_dead_service_left_is_told_as_such() -> None:
    """Sweeping is not the same as ending."""
    swept = Ended(was_running=False, processes=("agent",))
    purged = Purged(releases=("0.34.1-cpu",), freed_bytes=2_100_000_000)
    text = ended_text(Ended(was_running=False, purged=purged))
    assert text.startswith("Removed 0.34.1-cpu. 2.1 GB freed"), text
    none = ended_text(Ended(was_running=False, purged=Purged()))
    assert "nothing" in none
    assert ended_text(swept) == "Cleared what a dead service had left: agent."


def test_status_in_a_notebook_shows_the_members_of_a_pool(bare: Session) -> None:
    """A row for each; what a member says of itself is only text."""
    members = (
        Member(id="0a1b", models=("tiny",), seen_s=2.0, is_self=True),
        Member(id="9f9f", models=(EVIL,), seen_s=3.0),
    )
    show_status(replace(READY, members=members), in_notebook=True)
    (output,) = bare.displays
    markup = output["data"]["text/html"]
    assert "0a1b (this one): tiny, answered 2.0 s ago" in markup
    assert "9f9f: &lt;img" in markup
    assert "<img" not in markup
