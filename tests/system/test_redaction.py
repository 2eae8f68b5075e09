"""Secrets are masked in every text that is shown."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.system.redaction import (
    Redactor,
    Secret,
    mask,
    strip_control_chars,
)

TOKEN = "2abcDEFghiJKLmnoPQRstuVWXyz_1234567890"


def test_a_secret_shows_nothing_of_itself() -> None:
    """Printing or formatting it does not reveal the value."""
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
def test_a_known_secret_is_redacted(text: str) -> None:
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
    ("text", "expected"),
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
def test_control_characters_are_stripped(text: str, expected: str) -> None:
    """A log line from outside cannot move the cursor or rewrite the screen."""
    assert strip_control_chars(text) == expected


def test_a_masked_key_shows_its_head_only_when_long() -> None:
    """A short key is hidden whole."""
    assert mask("avocado-0123456789") == "avoc…"
    assert mask("secret-key12") == "•••"
