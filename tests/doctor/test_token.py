"""The token's shape is checked, and the token is never shown."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from spicy_avocado_magic.config.tunnel import TUNNEL
from spicy_avocado_magic.doctor import token
from spicy_avocado_magic.doctor.context import DoctorRequest, Token, load_context
from spicy_avocado_magic.doctor.token import check_token_shape
from spicy_avocado_magic.protocol.finding import CheckStatus
from spicy_avocado_magic.protocol.state_folder import StateFolder, write_private
from spicy_avocado_magic.system.platforms import PLATFORMS

from .conftest import New

GOOD = "2Rn6ZaVPx0AbCdEfGhIjKlMnOpQ_3cQSeYtR9uVwXyZ12345"


@pytest.mark.parametrize(
    ("text", "verdict", "word"),
    [
        (GOOD, CheckStatus.OK, "has the right shape"),
        (f" {GOOD}\n", CheckStatus.OK, "has the right shape"),
        ("", CheckStatus.BROKEN, "No ngrok token"),
        ("ak_2hrGw25xR00AovPe2eBnjyGDdAt", CheckStatus.BROKEN, "API key's id"),
        ("cr_2hrGw25xR00AovPe2eBnjyGDdAt", CheckStatus.BROKEN, "credential's id"),
        ("$NGROK", CheckStatus.BROKEN, "name of a variable"),
        (f"ngrok config add-authtoken {GOOD}", CheckStatus.BROKEN, "whole command"),
        (f'"{GOOD}"', CheckStatus.BROKEN, "quotes"),
        ("short", CheckStatus.BROKEN, "105"),
        ("Abcdefghijklmnopqrstu", CheckStatus.WARNING, "usual shape"),
    ],
)
def test_a_text_that_is_no_token_is_reported_and_never_shown(
    new_context: New, text: str, verdict: CheckStatus, word: str
) -> None:
    """The message says what was pasted in its place, if that can be known."""
    found = check_token_shape(new_context(token=Token(text=text, origin="the moon")))
    assert found.verdict is verdict, found
    assert word in found.what
    shown = found.what + found.remedy
    assert not text.strip() or text.strip() not in shown, "the token is shown"
    assert not text or "the moon" in found.what, (
        "the message does not say where it was found"
    )


def test_the_remedy_for_a_missing_token_says_where_this_platform_keeps_one(
    new_context: New,
) -> None:
    """On Kaggle it is a menu; elsewhere no menu is named."""
    kaggle = new_context(platform=PLATFORMS[0], token=Token())
    assert "Add-ons → Secrets" in check_token_shape(kaggle).remedy
    terminal = new_context(platform=PLATFORMS[-1], token=Token())
    assert "add it" not in check_token_shape(terminal).remedy


def test_an_api_key_is_recognised_by_the_variable_that_holds_it(
    new_context: New,
) -> None:
    """Both have the same shape."""
    token = Token(text=GOOD, origin="the environment", is_api_key=True)
    found = check_token_shape(new_context(token=token))
    assert found.verdict is CheckStatus.BROKEN, found
    assert "NGROK_API_KEY" in found.what


def test_a_rehearsal_needs_no_token(new_context: New) -> None:
    """Its tunnel is the rehearsal's own."""
    found = check_token_shape(new_context(rehearsal=True))
    assert found.verdict is CheckStatus.OK, found


def test_the_token_of_the_running_service_is_checked_if_there_is_no_other() -> None:
    """It is in the agent's private configuration."""
    folder = StateFolder.find(rehearsal=False)
    write_private(folder.agent_config, json.dumps({"agent": {"authtoken": GOOD}}))
    context = load_context(DoctorRequest())
    assert context.token.text == GOOD
    assert GOOD not in repr(context), "the token shows in a repr"
    given = load_context(DoctorRequest(token=Token(text="other", origin="--token")))
    assert given.token.text == "other"


def test_a_provider_that_requires_no_token_needs_none(
    new_context: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing one is no problem then."""
    optional = replace(TUNNEL.credential, is_required=False)
    monkeypatch.setattr(token, "_CREDENTIAL", optional)
    found = check_token_shape(new_context(token=Token()))
    assert found.verdict is CheckStatus.OK, found
