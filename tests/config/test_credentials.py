"""Lookup of tokens and variables, and the check of a token's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from spicy_avocado_magic.config import credentials
from spicy_avocado_magic.config.credentials import check_token, find_token, resolve
from spicy_avocado_magic.config.tunnel import TUNNEL
from spicy_avocado_magic.errors import InvalidToken, SecretMissing
from spicy_avocado_magic.system.platforms import PLATFORMS
from spicy_avocado_magic.system.redaction import Secret

TOKEN = "2abcDEFghiJKLmnoPQRstuVWXyz_1234567890"


@pytest.mark.parametrize("text", ["$NGROK", "${NGROK}"])
def test_a_name_is_looked_up_in_three_places_in_turn(text: str) -> None:
    """The order is notebook variable, environment, secret store of the platform."""
    store = {"NGROK": "stored"}.get
    environ = {"NGROK": "environment"}
    unset: dict[str, Any] = {"NGROK": None}
    assert resolve(text, {"NGROK": "variable"}, environ, store) == "variable"
    assert resolve(text, {"NGROK": Secret("hidden")}, environ, store) == "hidden"
    assert resolve(text, {}, environ, store) == "environment"
    assert resolve(text, unset, environ, store) == "environment"
    assert resolve(text, {}, {}, store) == "stored"


@pytest.mark.parametrize("text", ["plain", "a$NAME", "$", "$A-B", "${A", ""])
def test_any_other_text_is_left_alone(text: str) -> None:
    """A dollar inside a key is a dollar."""
    assert resolve(text, {"NAME": "x", "A": "y"}, {}) == text


def test_an_unknown_name_is_an_error_that_names_it() -> None:
    """The message repeats the name."""
    with pytest.raises(SecretMissing, match=r"\$NGROK is not defined"):
        resolve("$NGROK", {}, {})


def test_the_token_is_found_or_asked_for() -> None:
    """The user is asked last, and only where a question can be shown."""
    environ: Mapping[str, str] = {"NGROK_AUTHTOKEN": TOKEN}
    assert find_token({}, environ) == TOKEN
    assert find_token({}, {}, environ.get) == TOKEN
    assert find_token({}, {}, None, lambda _: f" {TOKEN} ") == TOKEN
    for ask in (None, lambda _: " "):
        with pytest.raises(SecretMissing, match="--local"):
            find_token({}, {}, None, ask)


def test_a_platform_that_withholds_the_token_is_reported_last() -> None:
    """The user is asked first; without an answer the error says what to switch on."""

    def withhold(_name: str) -> str | None:
        raise SecretMissing("No access.", "Switch it on.")

    assert find_token({}, {}, withhold, lambda _: TOKEN) == TOKEN
    for ask in (None, lambda _: ""):
        with pytest.raises(SecretMissing, match=r"No access\. Switch it on\."):
            find_token({}, {}, withhold, ask)


def test_the_error_for_a_missing_token_says_where_this_platform_keeps_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On Kaggle it is a menu; elsewhere no menu is named."""
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    with pytest.raises(SecretMissing, match="Add-ons → Secrets"):
        find_token({}, {})
    for row in PLATFORMS:
        for variable in row.variables:
            monkeypatch.delenv(variable, raising=False)
    with pytest.raises(SecretMissing, match="set NGROK_AUTHTOKEN, or use --local"):
        find_token({}, {})


def test_a_token_with_a_pasted_blank_is_accepted() -> None:
    """Copying often picks up white space."""
    assert check_token(f" {TOKEN}\n") == TOKEN


@pytest.mark.parametrize("token", ["", "short", f"{TOKEN} x", f"{TOKEN}'", "é" * 30])
def test_a_malformed_token_is_refused_without_repeating_it(token: str) -> None:
    """The error does not contain the token."""
    with pytest.raises(InvalidToken, match="ERR_NGROK_105") as caught:
        check_token(token)
    assert not token or token not in str(caught.value)


def test_a_provider_that_requires_no_token_needs_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that is there is used all the same; the user is not asked."""
    optional = replace(TUNNEL.credential, is_required=False)
    monkeypatch.setattr(credentials, "_CREDENTIAL", optional)
    assert find_token({}, {}, None, lambda _: TOKEN) == ""
    assert find_token({}, {optional.variable: TOKEN}) == TOKEN
