"""A line of a magic, sorted into words and options."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.notebook.line.commands import DOWN, STATUS
from spicy_avocado_magic.notebook.line.parser import parse_flags, split


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("llama3 --token 'a b'  # mine", ["llama3", "--token", "a b"]),
        ("llama3;", ["llama3"]),
        ("llama3 ;", ["llama3"]),
        ("llama3; # mine", ["llama3"]),
        ('--token="a b"', ["--token=a b"]),
        ("llama3 # it's mine", ["llama3"]),
        ("#all of it", []),
        ("--models-dir /data#2 tiny", ["--models-dir", "/data#2", "tiny"]),
        ("'a # b' \"c # d\" # e", ["a # b", "c # d"]),
        ("--api-key 'a;b;';", ["--api-key", "a;b;"]),
        ("two\\ words {x} $A", ["two words", "{x}", "$A"]),
        (" ; ", []),
        ("", []),
    ],
)
def test_a_line_is_split_as_a_shell_does(line: str, words: list[str]) -> None:
    """Quotes, comments and a trailing semicolon never reach a value."""
    assert split(line) == words


def test_a_quote_that_stays_open_is_a_mistake() -> None:
    """The user hears of the quote, not of a parser."""
    with pytest.raises(UsageError, match="quote"):
        split("llama3 --token 'abc")


def test_status_and_down_take_their_flags_alone() -> None:
    """Each flag is there, true or false; a word is a mistake."""
    assert parse_flags("--json", STATUS) == {
        "watch": False,
        "json": True,
        "rehearse": False,
    }
    assert parse_flags("", DOWN) == {"purge": False, "rehearse": False}
    assert parse_flags("--purge", DOWN) == {"purge": True, "rehearse": False}
    assert parse_flags("--help", DOWN) is None
    with pytest.raises(UsageError, match="llama3"):
        parse_flags("llama3", DOWN)
    with pytest.raises(UsageError, match="--json"):
        parse_flags("--jsn", STATUS)
