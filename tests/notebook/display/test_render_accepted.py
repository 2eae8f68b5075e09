"""The card of a service that starts in the background."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spicy_avocado_magic.client.state_text import REHEARSAL_MARK
from spicy_avocado_magic.notebook.display.render import (
    UpResult,
    render_result,
    result_text,
)
from spicy_avocado_magic.protocol.state import State

from ..conftest import KEY, READY
from .pages import EVILS, PULLING, Page, all_of

TOKEN = "avocado-metrics-0123456789"
HEADLINE = "Started in the background; %avocado_status shows its progress."


def test_the_card_says_nothing_that_will_become_untrue() -> None:
    """A saved notebook keeps it: no stage, no bar, no missing URL or port."""
    state = replace(PULLING, api_key=KEY, key_is_generated=True, metrics_token=TOKEN)
    picture = render_result(
        UpResult(
            state=state,
            headline=HEADLINE,
            show_key=True,
            show_token=True,
            is_accepted=True,
        )
    )
    page = Page(picture.html)
    assert page.found("role", "progressbar") == []
    for text in (page.text, picture.text):
        for word in ("Starting", "fetching", "GB", "yet", "none", "ready"):
            assert word not in text, f"{word!r} will not stay true: {text}"
        for word in (HEADLINE, "llama3", KEY, TOKEN):
            assert word in text, f"{word!r} is missing: {text}"


def test_a_known_port_is_shown() -> None:
    """If the service was already running."""
    state = replace(READY, metrics_token=TOKEN, metrics_url="http://127.0.0.1:9464/")
    assert "http://127.0.0.1:9464/" in result_text(
        UpResult(state=state, headline=HEADLINE, show_key=False, is_accepted=True)
    )


@pytest.mark.parametrize("hidden", [True, False])
def test_secrets_are_shown_in_full_only_if_allowed(hidden: bool) -> None:
    """Once, by the cell that created them."""
    state = replace(READY, metrics_token=TOKEN, hide_key=hidden)
    for show in (True, False):
        picture = render_result(
            UpResult(
                state=state,
                headline=HEADLINE,
                show_key=show,
                show_token=show,
                is_accepted=True,
            )
        )
        for form in (picture.html, picture.text):
            assert (KEY in form) is (show and not hidden)
            assert (TOKEN in form) is (show and not hidden)


@pytest.mark.parametrize("evil", EVILS)
@pytest.mark.parametrize("rehearsal", [True, False])
def test_text_from_outside_is_escaped(evil: str, rehearsal: bool) -> None:
    """A rehearsal is marked."""
    state = all_of(evil, rehearsal=rehearsal)
    picture = render_result(
        UpResult(
            state=state, headline=evil, show_key=True, show_token=True, is_accepted=True
        )
    )
    Page(picture.html).require_harmless()
    for form in (picture.html, picture.text):
        assert "\x1b" not in form
        assert (REHEARSAL_MARK in form) is rehearsal


def test_without_models_none_are_named() -> None:
    """An empty list is left out."""
    assert "models" not in result_text(
        UpResult(state=State(), headline=HEADLINE, show_key=False, is_accepted=True)
    )
