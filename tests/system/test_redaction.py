"""Where tokens come from, and that they are seen nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from spicy_avocado_magic.config.credentials import check_token, find_token, resolve
from spicy_avocado_magic.errors import InvalidToken, SecretMissing
from spicy_avocado_magic.system.platforms import PLATFORMS
from spicy_avocado_magic.system.redaction import (
    Redactor,
    Secret,
    mask,
    strip_control_chars,
)

TOKEN = "2abcDEFghiJKLmnoPQRstuVWXyz_1234567890"


def test_a_secret_shows_nothing_of_itself() -> None:
    """Printing, formatting or failing with it tells nothing."""
    secret = Secret(TOKEN)
    for shown in (repr(secret), str(secret), f"{secret}", f"{[secret]}"):
        assert TOKEN[:4] not in shown
    assert secret.get_secret_value() == TOKEN


def test_secrets_compare_by_what_they_hold() -> None:
    """Two of the same text are equal; an empty one is false."""
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")


@pytest.mark.parametrize(
    "text",
    [
        f"token={TOKEN}!",
        f"{TOKEN}{TOKEN}",
        f"{TOKEN[:9]}\x1b[0m{TOKEN[9:]}",
        f"{TOKEN[:9]}\x00{TOKEN[9:]}",
    ],
)
def test_a_known_secret_is_taken_out(text: str) -> None:
    """Nothing that is shown holds the token, not even in coloured pieces."""
    shown = Redactor([TOKEN])(text)
    assert TOKEN not in shown
    assert "•••" in shown


def test_the_longer_of_two_secrets_goes_first() -> None:
    """A secret that begins with another leaves no tail behind."""
    assert Redactor(["abcdef", "abcdefgh"])("x abcdefgh y") == "x ••• y"


def test_very_short_texts_are_not_redacted() -> None:
    """An empty or tiny secret would make every line unreadable."""
    redact = Redactor(["", "a"])
    redact.add("bc")
    assert redact("abc") == "abc"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("a\rb\x00c\x9bd", "abcd"),
        ("line\r\nline\ttab", "line\nline\ttab"),
        ("ab\u202edc", "abdc"),
        ("ünï ✓", "ünï ✓"),
    ],
)
def test_what_a_terminal_would_obey_is_stripped(text: str, plain: str) -> None:
    """A log line from outside cannot move the cursor or rewrite the screen."""
    assert strip_control_chars(text) == plain


def test_a_masked_key_shows_its_head_only_when_long() -> None:
    """A short key is hidden whole."""
    assert mask("avocado-0123456789") == "avoc…"
    assert mask("secret-key12") == "•••"


@pytest.mark.parametrize("text", ["$NGROK", "${NGROK}"])
def test_a_name_is_looked_for_in_three_places_in_turn(text: str) -> None:
    """Notebook variable, environment, platform: the first that has it."""
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


def test_a_name_that_is_nowhere_is_told() -> None:
    """The message names what is missing."""
    with pytest.raises(SecretMissing, match=r"\$NGROK is not defined"):
        resolve("$NGROK", {}, {})


def test_the_token_is_found_or_asked_for() -> None:
    """Asking comes last, and only where somebody can answer."""
    where: Mapping[str, str] = {"NGROK_AUTHTOKEN": TOKEN}
    assert find_token({}, where) == TOKEN
    assert find_token({}, {}, where.get) == TOKEN
    assert find_token({}, {}, None, lambda _: f" {TOKEN} ") == TOKEN
    for ask in (None, lambda _: " "):
        with pytest.raises(SecretMissing, match="--local"):
            find_token({}, {}, None, ask)


def test_a_platform_that_withholds_the_token_is_heard_last() -> None:
    """Where somebody can answer they are asked; else they hear what to switch on."""

    def withhold(_name: str) -> str | None:
        raise SecretMissing("No access.", "Switch it on.")

    assert find_token({}, {}, withhold, lambda _: TOKEN) == TOKEN
    for ask in (None, lambda _: ""):
        with pytest.raises(SecretMissing, match=r"No access\. Switch it on\."):
            find_token({}, {}, withhold, ask)


def test_a_missing_token_is_answered_with_where_this_platform_keeps_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Kaggle's menu; elsewhere nobody is sent to look for one."""
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    with pytest.raises(SecretMissing, match="Add-ons → Secrets"):
        find_token({}, {})
    for row in PLATFORMS:
        for mark in row.variables:
            monkeypatch.delenv(mark, raising=False)
    with pytest.raises(SecretMissing, match="set NGROK_AUTHTOKEN, or use --local"):
        find_token({}, {})


def test_a_token_with_a_pasted_blank_is_accepted() -> None:
    """Copying picks up white space."""
    assert check_token(f" {TOKEN}\n") == TOKEN


@pytest.mark.parametrize("token", ["", "short", f"{TOKEN} x", f"{TOKEN}'", "é" * 30])
def test_a_malformed_token_is_refused_without_repeating_it(token: str) -> None:
    """It never reaches the agent, nor the screen."""
    with pytest.raises(InvalidToken, match="ERR_NGROK_105") as caught:
        check_token(token)
    assert not token or token not in str(caught.value)
