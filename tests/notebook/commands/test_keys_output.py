"""Keys as a table, and a new key as it is shown."""

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


def test_the_list_tells_limits_use_and_expiry(session: Session) -> None:
    """A row each, in columns; counts that are ours are marked."""
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
    """With the plain text beside it, for whatever cannot show HTML."""
    show_keys(READY, KEYS, in_notebook=True)
    (shown,) = session.displays
    assert shown["data"]["text/plain"].splitlines()[2].startswith("ann")
    cells = re.findall("<t[dh](?: [^>]*)?>([^<]*)", shown["data"]["text/html"])
    assert len(cells) == 6 * 4
    assert cells[12] == "ann"


def test_everything_is_text(session: Session) -> None:
    """Whatever a host tells, no browser and no terminal obeys it."""
    evil = ApiKeyState(name="<img onerror=x>\x1b[2J", models=("<b>&",))
    show_keys(READY, [evil], in_notebook=True)
    show_keys(READY, [evil], in_notebook=False)
    markup = session.displays[0]["data"]["text/html"]
    assert "<img" not in markup
    assert "<b>" not in markup
    assert "\x1b" not in markup + session.printed()


@pytest.mark.parametrize("in_notebook", [True, False])
def test_a_rehearsal_is_marked(session: Session, in_notebook: bool) -> None:
    """On every output."""
    show_keys(replace(READY, rehearsal=True), KEYS, in_notebook=in_notebook)
    printed = session.printed()
    shown = session.displays[0]["data"] if in_notebook else {"": printed}
    assert all(REHEARSAL_MARK in text for text in shown.values()), shown


def test_without_keys_it_is_told_that_they_have_no_use(session: Session) -> None:
    """Under ``--no-auth``."""
    show_keys(READY, [ApiKeyState(name="anybody")], in_notebook=True)
    data = session.displays[0]["data"]
    assert all("--no-auth" in text for text in data.values())


def test_a_new_key_is_shown_whole_with_a_line_for_its_holder() -> None:
    """Even where the owner's own key is hidden; and never the owner's key."""
    state = replace(READY, hide_key=True, key_is_generated=False)
    grant = ApiKeyRequest(name="ann", rpm=3, models=("qwen3:8b",), expires_s=3600.0)
    text = new_key_text(state, grant, Secret(SECRET))
    curl = text.splitlines()[-1]
    assert curl.startswith(f"curl {READY.url}/v1/chat/completions")
    assert f"Bearer {SECRET}" in curl
    assert '"qwen3:8b"' in curl, "the line names a model that the key may not use"
    assert "3 requests/min; qwen3:8b" in text
    assert "in 1 h 0 min" in text
    assert KEY not in text


def test_in_a_pool_a_new_key_comes_with_a_warning() -> None:
    """The other members do not know it, and any of them may be asked."""
    grant = ApiKeyRequest(name="ann")
    assert POOLED not in new_key_text(READY, grant, Secret(SECRET))
    pooled = replace(READY, members=(PoolMember(id="abc", is_self=True),))
    assert POOLED in new_key_text(pooled, grant, Secret(SECRET))
