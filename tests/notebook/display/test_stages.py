"""Stages as rows of HTML and lines of text."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spicy_avocado_magic.notebook.display.stages import (
    bar,
    failure_panel,
    stages_list,
    stages_text,
    warnings_list,
)
from spicy_avocado_magic.protocol.state import Phase

from .pages import EVILS, FAILURE, PULLING, Page, all_of, failed


def test_a_stage_in_progress_shows_bytes_rate_and_remaining_time() -> None:
    """As text, not only as a bar."""
    page = Page(stages_list(PULLING.stages))
    expected = "fetching llama325% · 1.0 GB of 4.0 GB, 50.0 MB/s, 1 min 0 s left 12.5 s"
    assert expected in page.text


def test_a_bar_is_accessible() -> None:
    """A screen reader gets name, percentage and the value in words."""
    (found,) = Page(stages_list(PULLING.stages)).found("role", "progressbar")
    assert found["aria-label"] == "pull"
    assert (found["aria-valuemin"], found["aria-valuemax"]) == ("0", "100")
    assert found["aria-valuenow"] == "25"
    assert "1 min 0 s left" in str(found["aria-valuetext"])


@pytest.mark.parametrize(("fraction", "now"), [(-1.0, "0"), (0.5, "50"), (7.0, "100")])
def test_a_bar_stays_between_0_and_100_percent(fraction: float, now: str) -> None:
    """A quota can be exceeded."""
    (found,) = Page(bar("x", fraction, "")).found("role", "progressbar")
    assert found["aria-valuenow"] == now


def test_every_phase_has_a_label_and_an_attribute() -> None:
    """Colour and symbol alone are not accessible."""
    page = Page(stages_list(all_of("x").stages))
    phases = {attrs.get("data-phase") for attrs in page.found("role", "listitem")}
    assert phases == set(Phase)
    spoken = {attrs.get("aria-label") for attrs in page.found("role", "img")}
    assert spoken >= {
        "waiting",
        "in progress",
        "ready",
        "failed",
        "failed, will be retried",
    }


def test_a_ready_stage_has_no_bar() -> None:
    """Its detail says what was downloaded."""
    done = replace(PULLING.stages[0], phase=Phase.READY, detail="llama3: 4.0 GB")
    page = Page(stages_list([done]))
    assert page.found("role", "progressbar") == []
    assert "of 4.0 GB" not in page.text


def test_a_failed_stage_shows_problem_remedy_and_log() -> None:
    """Once, with the log in a fold."""
    page = Page(stages_list(failed().stages))
    assert page.text.count("The engine died.") == 1, "the problem is shown twice"
    assert "→ Look at its log." in page.text
    (log,) = page.found("data-fold", "log")
    assert "open" not in log, "the fold is open"
    assert "first line\nlast line" in page.text
    assert "Last 2 lines of its log" in page.text


def test_a_stage_that_is_retried_has_no_fold() -> None:
    """An update would close it while it is being read."""
    stage = replace(failed().stages[1], phase=Phase.BACKOFF)
    moving = Page(stages_list([stage]))
    assert "→ Look at its log." in moving.text
    assert moving.found("data-fold", "log") == []
    assert Page(stages_list([stage], is_over=True)).found("data-fold", "log")


def test_a_stage_in_progress_is_stopped_when_the_cell_ends() -> None:
    """A saved notebook does not show a bar that will never move."""
    page = Page(stages_list(PULLING.stages, is_over=True))
    assert page.found("data-stage", "pull")[0]["data-phase"] == "stopped"
    assert page.found("data-stage", "serve")[0]["data-phase"] == "ready"
    assert page.found("role", "progressbar") == []
    assert "1.0 GB of 4.0 GB" in page.text, "the progress is lost"
    assert "left" not in page.text, "a remaining time is shown"
    pull, serve, warm, tunnel = stages_text(PULLING, is_over=True)
    assert (pull[0], serve[0], warm[0], tunnel[0]) == ("■", "✓", "·", "-")
    assert "left" not in pull, "the text shows a remaining time"


def test_a_log_of_one_line_has_its_own_title() -> None:
    """An empty log has no fold."""
    single = replace(FAILURE, log_tail=("only",))
    assert "Last line of its log" in Page(failure_panel(single)).text
    none = replace(FAILURE, log_tail=())
    assert Page(failure_panel(none)).found("data-fold", "log") == []


def test_many_warnings_are_counted() -> None:
    """They must not push everything else off the screen."""
    page = Page(warnings_list(f"w{n}" for n in range(8)))
    assert "! w4" in page.text
    assert "w5" not in page.text
    assert "! … and 3 more" in page.text


@pytest.mark.parametrize("evil", EVILS)
def test_text_of_a_stage_is_escaped(evil: str) -> None:
    """Names, details, problems, remedies and log lines."""
    state = all_of(evil)
    for is_over in (True, False):
        page = Page(stages_list(state.stages, is_over=is_over))
        page.require_harmless()
    Page(warnings_list(state.warnings)).require_harmless()
    text = "\n".join(stages_text(state))
    assert "\x1b" not in text, "a terminal would interpret it"
