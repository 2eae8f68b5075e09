"""Slips of the fingers, and what is said of them."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.notebook.line.commands import ASK, KEYS, UP, CommandSpec
from spicy_avocado_magic.notebook.line.parser import parse_line

EM, EN = "\u2014", "\u2013"


@pytest.mark.parametrize(
    ("command", "line", "problem", "remedy"),
    [
        (UP, f"{EM}local", "no hyphen", "Type --local, with two hyphens"),
        (UP, f"{EN}-local", "no hyphen", "Type --local,"),
        (UP, f"-{EN}port=1", "no hyphen", "Type --port,"),
        (UP, "\u201ctiny\u201d", "curly", "straight quotes"),
        (ASK, "--system=\u2018Be brief\u2019", "curly", "straight quotes"),
        (UP, "'tiny", "quote on this line is not closed", "Close it"),
        (UP, "tiny \\", "ends with a backslash", "next line"),
        (UP, "--local false", "between --local and false", "--local=false"),
        (UP, "--local No tiny", "between --local and No", "--local=No"),
        (UP, "--local = false", "between --local and =", "--local=false"),
        (UP, "--token = $NGROK", "between --token and =", "--token=TOKEN"),
        (UP, "--port =1", "between --port and =", "--port=N"),
        (UP, "--model tiny", "--model is not an option", "write its name alone"),
        (ASK, "--model tiny", "--model is not an option", "write its name alone"),
        (KEYS, "add a --model x", "--model is not an option", "mean --models?"),
        (UP, "--no-local", "--no-local is not an option", "Write --local=false"),
        (UP, "--no-auht", "--no-auht is not an option", "mean --no-auth?"),
        (UP, "--no-port", "--no-port is not an option", "mean --port?"),
        (UP, "--hlep", "--hlep is not an option", "mean --help?"),
    ],
)
def test_a_slip_is_told_with_what_to_type(
    command: CommandSpec, line: str, problem: str, remedy: str
) -> None:
    """Not taken for a model, a value or another word."""
    with pytest.raises(UsageError) as caught:
        parse_line(line, command)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_no_slip_repeats_a_value() -> None:
    """It may be the token."""
    for line in (f"{EM}token=secret", "--token =secret"):
        with pytest.raises(UsageError) as caught:
            parse_line(line, UP)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("line", ["help", "?", " help ;"])
def test_a_word_for_help_helps(line: str) -> None:
    """Where it stands alone; a key may have that name."""
    assert parse_line(line, UP) is None
    assert parse_line("add help", KEYS) is not None


@pytest.mark.parametrize(
    "line",
    [
        "--models-dir /data/Ann\u2019s",
        "'\u201cquoted\u201d'",
        f"a{EN}b",
        "--local=false",
        "true --local",
        "--system=--local",
    ],
)
def test_what_may_be_meant_is_let_through(line: str) -> None:
    """Quotes in quotes, dashes in words, a model that is called true."""
    assert parse_line(line, ASK if "system" in line else UP) is not None
