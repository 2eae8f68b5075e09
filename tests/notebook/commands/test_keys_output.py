"""The table of keys, and the text of a new key."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from spicy_avocado_magic.client.state_text import REHEARSAL_MARK
from spicy_avocado_magic.config.api_key_options import ApiKeyRequest
from spicy_avocado_magic.notebook.commands.keys import POOLED, new_key_text, show_keys
from spicy_avocado_magic.protocol.state import ApiKeyState, PoolMember
from spicy_avocado_magic.system.redaction import Secret

from ..conftest import KEY, READY, Session

SECRET = "avocado-anns-0123456789"
KEYS = (
    ApiKeyState(name="owner", requests=3, tokens_in=12, tokens_out=40, idle_s=5.0),
    ApiKeyState(
        name="ann",
        manage=True,
        models=("tiny", "b:c"),
        rpm=60,
        tokens=1000,
        expires_in_s=7200.0,
        requests=1,
        tokens_in=2,
        tokens_out=7,
        is_estimate=True,
    ),
    ApiKeyState(name="bob", expires_in_s=0.0),
)


def test_the_table_shows_limits_use_and_expiry(session: Session) -> None:
    """Estimated token counts are marked."""
    show_keys(READY, KEYS, in_notebook=False)
    head, owner, ann, bob = session.printed().splitlines()
    split = re.compile("  +").split
    assert split(head)[0] == "name"
    assert split(owner) == ["owner", "none", "3", "12 / 40", "5.0 s ago", "never"]
    assert split(ann) == [
        "ann",
        "60 requests/min; 1000 tokens; tiny, b:c; manages models",
        "1",
        "≈2 / ≈7",
        "never",
        "in 2 h 0 min",
    ]
    assert split(bob)[-1] == "expired"


def test_a_notebook_shows_the_same_as_a_table(session: Session) -> None:
    """The plain text is sent as well."""
    show_keys(READY, KEYS, in_notebook=True)
    (shown,) = session.displays
    assert shown["data"]["text/plain"].splitlines()[2].startswith("ann")
    cells = re.findall("<t[dh](?: [^>]*)?>([^<]*)", shown["data"]["text/html"])
    assert len(cells) == 6 * 4
    assert cells[12] == "ann"


def test_names_from_outside_are_escaped(session: Session) -> None:
    """Neither a browser nor a terminal may interpret them."""
    evil = ApiKeyState(name="<img onerror=x>\x1b[2J", models=("<b>&",))
    show_keys(READY, [evil], in_notebook=True)
    show_keys(READY, [evil], in_notebook=False)
    markup = session.displays[0]["data"]["text/html"]
    assert "<img" not in markup
    assert "<b>" not in markup
    assert "\x1b" not in markup + session.printed()


@pytest.mark.parametrize("in_notebook", [True, False])
def test_a_rehearsal_is_marked(session: Session, in_notebook: bool) -> None:
    """In the notebook and in the terminal."""
    show_keys(replace(READY, rehearsal=True), KEYS, in_notebook=in_notebook)
    printed = session.printed()
    shown = session.displays[0]["data"] if in_notebook else {"": printed}
    assert all(REHEARSAL_MARK in text for text in shown.values()), shown


def test_with_no_auth_a_note_says_that_keys_are_not_needed(session: Session) -> None:
    """It is in the HTML and in the text."""
    show_keys(READY, [ApiKeyState(name="anybody")], in_notebook=True)
    data = session.displays[0]["data"]
    assert all("--no-auth" in text for text in data.values())


def test_a_new_key_is_shown_in_full_with_a_curl_line() -> None:
    """Also with ``--hide-key``; the owner's own key is not in it."""
    state = replace(READY, hide_key=True, key_is_generated=False)
    request = ApiKeyRequest(name="ann", rpm=3, models=("qwen3:8b",), expires_s=3600.0)
    text = new_key_text(state, request, Secret(SECRET))
    curl = text.splitlines()[-1]
    assert curl.startswith(f"curl {READY.url}/v1/chat/completions")
    assert f"Bearer {SECRET}" in curl
    assert '"qwen3:8b"' in curl, "the line names a model that the key may not use"
    assert "3 requests/min; qwen3:8b" in text
    assert "in 1 h 0 min" in text
    assert KEY not in text


def test_in_a_pool_a_new_key_comes_with_a_warning() -> None:
    """The other members do not have the key, and each may receive the request."""
    request = ApiKeyRequest(name="ann")
    assert POOLED not in new_key_text(READY, request, Secret(SECRET))
    pooled = replace(READY, members=(PoolMember(id="abc", is_self=True),))
    assert POOLED in new_key_text(pooled, request, Secret(SECRET))
