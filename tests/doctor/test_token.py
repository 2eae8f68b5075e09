"""The token's shape, and that it is never shown."""

from __future__ import annotations

import json

import pytest

from spicy_avocado_magic.config.settings import Settings
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
        (GOOD, CheckStatus.OK, "the shape of one"),
        (f" {GOOD}\n", CheckStatus.OK, "the shape of one"),
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
def test_what_is_no_token_is_told_and_never_shown(
    new_case: New, text: str, verdict: CheckStatus, word: str
) -> None:
    """With what was pasted in its place, where that can be seen."""
    found = check_token_shape(new_case(token=Token(text=text, origin="the moon")))
    assert found.verdict is verdict, found
    assert word in found.what
    shown = found.what + found.remedy
    assert not text.strip() or text.strip() not in shown, "the token is shown"
    assert not text or "the moon" in found.what, "where it came from is not told"


def test_a_missing_token_is_answered_with_where_this_platform_keeps_one(
    new_case: New,
) -> None:
    """Nobody need look for a key symbol that is not there."""
    kaggle = new_case(platform=PLATFORMS[0], token=Token())
    assert "Add-ons → Secrets" in check_token_shape(kaggle).remedy
    terminal = new_case(platform=PLATFORMS[-1], token=Token())
    assert "add it" not in check_token_shape(terminal).remedy


def test_an_api_key_is_told_by_where_it_is_kept(new_case: New) -> None:
    """Both have the same shape."""
    token = Token(text=GOOD, origin="the environment", is_api_key=True)
    found = check_token_shape(new_case(token=token))
    assert found.verdict is CheckStatus.BROKEN, found
    assert "NGROK_API_KEY" in found.what


def test_where_no_tunnel_is_wanted_no_token_is_needed(new_case: New) -> None:
    """Neither in a rehearsal nor with ``--local``."""
    for case in (new_case(rehearsal=True), new_case(settings=Settings(local=True))):
        assert check_token_shape(case).verdict is CheckStatus.OK


def test_the_running_services_token_is_looked_at_where_no_other_is() -> None:
    """It is in the agent's private configuration."""
    folder = StateFolder.find(rehearsal=False)
    write_private(folder.agent_config, json.dumps({"agent": {"authtoken": GOOD}}))
    case = load_context(DoctorRequest())
    assert case.token.text == GOOD
    assert GOOD not in repr(case), "the token shows in a repr"
    given = load_context(DoctorRequest(token=Token(text="other", origin="--token")))
    assert given.token.text == "other"
