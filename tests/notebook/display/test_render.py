"""The card of ``%avocado_up`` in each phase."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spicy_avocado_magic.client.snippets import Snippet, snippets
from spicy_avocado_magic.client.state_text import (
    REHEARSAL_MARK,
    connection_details,
    curl_line,
)
from spicy_avocado_magic.errors import Interrupted
from spicy_avocado_magic.notebook.display.html import MAX_BYTES, RichOutput
from spicy_avocado_magic.notebook.display.render import (
    UpResult,
    bounded_output,
    render_progress,
    render_result,
    render_stopped,
)
from spicy_avocado_magic.protocol.state import Failure, ModelState, State

from ..conftest import KEY, READY
from .pages import EVILS, FAILURE, PULLING, Page, all_of, failed


def all_cards(state: State) -> list[RichOutput]:
    """Return every kind of card for a state."""
    return [
        render_progress(state, seconds=1.0),
        render_result(
            UpResult(state=state, headline="Launched.", show_key=True, show_token=True)
        ),
        render_stopped(state, seconds=1.0, failure=FAILURE),
        render_stopped(state, seconds=1.0, failure=None),
    ]


def phase_of(picture: RichOutput) -> str:
    """Return the value of ``data-phase``."""
    (found,) = Page(picture.html).found("class", "avocado-card")
    return str(found["data-phase"])


def test_a_progress_card_shows_models_and_elapsed_time() -> None:
    """In its header; the stages are below."""
    picture = render_progress(PULLING, seconds=12.5)
    page = Page(picture.html)
    assert phase_of(picture) == "starting"
    assert "Starting llama3 12.5 s" in page.text
    assert picture.text.splitlines()[0] == "Starting llama3 · 12.5 s"
    assert "… pull     fetching llama3 · 1.0 GB of 4.0 GB" in picture.text


def test_many_models_are_named_briefly() -> None:
    """The first three, and the number of others."""
    models = tuple(ModelState(name=f"m{n}") for n in range(5))
    text = render_progress(replace(PULLING, models=models), seconds=0).text
    assert "Starting m0, m1, m2, … and 2 more" in text
    assert "Starting the service" in render_progress(State(), seconds=0).text


def test_a_ready_card_collapses_into_a_summary() -> None:
    """URL, key and models are visible; the stages are in a closed fold."""
    picture = render_result(
        UpResult(state=READY, headline="Launched in 2.0 s.", show_key=True)
    )
    page = Page(picture.html)
    assert phase_of(picture) == "ready"
    for word in ("✓ Launched in 2.0 s.", READY.url, KEY, READY.local_url, "llama3"):
        assert word in page.text, f"{word} is not shown"
    (stages,) = page.found("data-fold", "stages")
    assert "open" not in stages, "the stages are not folded"
    assert "1 stage ready, the longest pull: 2.0 s" in page.text
    assert page.found("role", "progressbar") == [], "a bar is left"
    assert "! No GPU was found." in page.text


def test_without_snippets_a_curl_line_is_shown() -> None:
    """In the HTML and in the text."""
    picture = render_result(UpResult(state=READY, headline="Done.", show_key=True))
    assert curl_line(READY, show_key=True) in Page(picture.html).text
    assert curl_line(READY, show_key=True) in picture.text


def test_each_snippet_has_a_fold() -> None:
    """It is closed, under its title; line breaks are kept."""
    given = (
        Snippet(language="python", title="openai", code="import openai\nopenai.x()"),
        Snippet(language="python", title="<b>", code="<img onerror=x>"),
    )
    page = Page(
        render_result(
            UpResult(state=READY, headline="Done.", show_key=True, snippets=given)
        ).html
    )
    page.require_harmless()
    assert len(page.found("data-fold", "snippet")) == 2
    assert "Use it fromopenai" in page.text, "the folds have no heading"
    assert "openaiimport openai\nopenai.x()" in page.text
    assert "<img onerror=x>" in page.text, "the code is not shown as it is"


def test_the_snippets_of_a_long_url_and_model_fit_into_a_message() -> None:
    """If the snippets are too long, the curl line is shown instead."""
    state = replace(
        READY,
        url=f"https://{'a' * 60}.ngrok-free.app",
        models=(ModelState(name=f"hf.co/somebody/{'m' * 60}:Q4_K_M"),),
        path_key=True,
        warnings=("w" * 200,) * 3,
    )
    known = snippets(state, show_key=True)
    assert len(known) == 10
    picture = render_result(
        UpResult(state=state, headline="Done.", show_key=True, snippets=known)
    )
    assert picture.size_bytes <= MAX_BYTES, f"{picture.size_bytes} bytes"
    assert len(Page(picture.html).found("data-fold", "snippet")) == 10
    long = [Snippet(language="python", title="t", code="x" * 1_900)] * 10
    page = Page(
        render_result(
            UpResult(state=state, headline="Done.", show_key=True, snippets=long)
        ).html
    )
    assert page.found("data-fold", "snippet") == []
    assert page.found("data-fold", "stages"), "all but the text is gone"
    assert curl_line(state, show_key=True) in page.text


@pytest.mark.parametrize("hidden", [True, False])
def test_the_key_is_shown_in_full_only_if_allowed(hidden: bool) -> None:
    """A saved notebook holds no secret except a generated key that was shown."""
    state = replace(READY, hide_key=hidden, metrics_token="avocado-metrics-0123456789")
    picture = render_result(UpResult(state=state, headline="Done.", show_key=True))
    for form in (picture.html, picture.text):
        assert (KEY in form) is not hidden
        assert "avocado-metrics-0123456789" not in form
    later = render_result(UpResult(state=state, headline="Done.", show_key=False))
    assert KEY not in later.html + later.text, "a later cell shows it again"


def test_a_failed_card_shows_problem_remedy_and_log() -> None:
    """The stage that failed shows them, once."""
    picture = render_stopped(failed(), seconds=3.0, failure=FAILURE)
    page = Page(picture.html)
    assert phase_of(picture) == "failed"
    assert "✗ Not started: llama3 after 3.0 s" in page.text
    assert page.text.count("The engine died.") == 1
    assert page.text.count("→ Look at its log.") == 1
    assert len(page.found("data-fold", "log")) == 1
    for line in ("✗ The engine died.", "→ Look at its log.", "│ last line"):
        assert line in picture.text, f"the text does not show {line!r}"


def test_a_failure_of_no_stage_has_a_panel_of_its_own() -> None:
    """Such as a service that does not answer."""
    page = Page(render_stopped(PULLING, seconds=3.0, failure=FAILURE).html)
    assert page.text.count("The engine died.") == 1
    assert page.found("data-stage", "pull")[0]["data-phase"] == "stopped"


def test_an_interrupted_card_is_stopped_and_not_failed() -> None:
    """Stopping a cell is not an error."""
    failure = Failure(
        kind=Interrupted.__name__, problem="Interrupted.", remedy="Again."
    )
    for reason in (failure, None):
        picture = render_stopped(PULLING, seconds=3.0, failure=reason)
        assert phase_of(picture) == "stopped"
        assert "■ Stopped: llama3" in picture.text
    assert "→ Again." in render_stopped(PULLING, seconds=3.0, failure=failure).text


@pytest.mark.parametrize("evil", EVILS)
@pytest.mark.parametrize("rehearsal", [True, False])
def test_text_from_outside_is_escaped(evil: str, rehearsal: bool) -> None:
    """Names, details, errors and log lines run nothing and fetch nothing."""
    for picture in all_cards(all_of(evil, rehearsal=rehearsal)):
        Page(picture.html).require_harmless()
        for form in (picture.html, picture.text):
            assert "\x1b" not in form, "a terminal would obey it"
            assert "\x07" not in form, "a terminal would ring"
            assert (REHEARSAL_MARK in form) is rehearsal


@pytest.mark.parametrize("text", ["\"&<>'" * 2_000, "🥑" * 9_000, "a\n" * 9_000])
def test_no_output_exceeds_the_size_limit(text: str) -> None:
    """However long the text from outside is."""
    for picture in all_cards(all_of(text)):
        assert picture.size_bytes <= MAX_BYTES, f"{picture.size_bytes} bytes"
        Page(picture.html).require_harmless()


def test_an_output_that_is_too_large_shows_its_text_cut() -> None:
    """Part of the information is better than none."""
    lines = ["the first line", *["x" * 99] * 900]
    picture = bounded_output(READY, "y" * MAX_BYTES, lines, phase="ready", label="l")
    assert picture.size_bytes <= MAX_BYTES
    assert "the first line" in Page(picture.html).text
    assert picture.text.startswith("the first line")
    assert phase_of(picture) == "ready"


def test_the_text_of_a_ready_card_ends_with_the_connection_details() -> None:
    """The text has the same information as the HTML."""
    picture = render_result(UpResult(state=READY, headline="Done.", show_key=True))
    assert picture.text.endswith(connection_details(READY, show_key=True))
