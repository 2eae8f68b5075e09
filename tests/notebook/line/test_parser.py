"""The parser of a magic's line."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.notebook.line.command_table import ASK, DOWN, MODEL, STATUS, UP
from spicy_avocado_magic.notebook.line.parser import parse_line, split
from spicy_avocado_magic.notebook.line.variables import VariableResolver

NOBODY = VariableResolver(namespace={}, environ={})


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


def test_an_open_quote_is_reported() -> None:
    """The error is about the quote, not about a parser."""
    with pytest.raises(UsageError, match="quote"):
        split("llama3 --token 'abc")


def test_every_flag_of_a_command_has_a_value() -> None:
    """A flag that is not on the line is False; a word is refused."""
    assert parse_line(STATUS, "--json", NOBODY) == {
        "watch": False,
        "json": True,
        "rehearse": False,
    }
    assert parse_line(DOWN, "", NOBODY) == {"purge": False, "rehearse": False}
    assert parse_line(DOWN, "--purge", NOBODY) == {"purge": True, "rehearse": False}
    with pytest.raises(UsageError, match="llama3"):
        parse_line(DOWN, "llama3", NOBODY)
    with pytest.raises(UsageError, match="--json"):
        parse_line(STATUS, "--jsn", NOBODY)


def test_flags_that_exclude_each_other_are_refused() -> None:
    """Both are named."""
    with pytest.raises(UsageError, match="--json and --watch cannot be used together"):
        parse_line(STATUS, "--watch --json", NOBODY)


def test_arguments_are_parsed_by_the_table() -> None:
    """What is not on the line is None for an option and empty for an argument."""
    variables = VariableResolver(
        namespace={"MODELS": ["a", "b"], "TEXT": "x y"}, environ={}
    )
    assert parse_line(ASK, "", variables) == {
        "model": "",
        "system": None,
        "rehearse": False,
    }
    assert parse_line(ASK, "$MODELS --system $TEXT", variables) == {
        "model": "a",
        "system": "x y",
        "rehearse": False,
    }
    models = parse_line(UP, "$MODELS c", variables)["models"]
    assert models == ("a", "b", "c")
    with pytest.raises(
        UsageError, match=r"The name is missing\. Write %%avocado_model"
    ):
        parse_line(MODEL, "", variables)
