"""Errors for common typos."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.notebook.line.command_table import ASK, KEYS, UP, CommandSpec
from spicy_avocado_magic.notebook.line.parser import asks_for_help, sort_words

EM, EN = "\u2014", "\u2013"


@pytest.mark.parametrize(
    ("command", "line", "problem", "remedy"),
    [
        (UP, f"{EM}local", "not a hyphen", "Type --local, with two hyphens"),
        (UP, f"{EN}-local", "not a hyphen", "Type --local,"),
        (UP, f"-{EN}port=1", "not a hyphen", "Type --port,"),
        (UP, "\u201ctiny\u201d", "curly", "straight quotes"),
        (ASK, "--system=\u2018Be brief\u2019", "curly", "straight quotes"),
        (UP, "'tiny", "quote on this line is not closed", "Close it"),
        (UP, "tiny \\", "ends with a backslash", "next line"),
        (UP, "--local false", "space between --local and false", "--local=false"),
        (UP, "--local No tiny", "space between --local and No", "--local=No"),
        (UP, "--local = false", "space between --local and =", "--local=false"),
        (UP, "--token = $NGROK", "space between --token and =", "--token=TOKEN"),
        (UP, "--port =1", "space between --port and =", "--port=N"),
        (UP, "--model tiny", "--model is not an option", "write its name alone"),
        (ASK, "--model tiny", "--model is not an option", "write its name alone"),
        (KEYS, "add a --model x", "--model is not an option", "mean --models?"),
        (UP, "--no-local", "--no-local is not an option", "Write --local=false"),
        (UP, "--no-auht", "--no-auht is not an option", "mean --no-auth?"),
        (UP, "--no-port", "--no-port is not an option", "mean --port?"),
        (UP, "--hlep", "--hlep is not an option", "mean --help?"),
    ],
)
def test_a_typo_is_reported_with_the_correction(
    command: CommandSpec, line: str, problem: str, remedy: str
) -> None:
    """It is not taken for a model, a value or another word."""
    with pytest.raises(UsageError) as caught:
        sort_words(command, line)
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_an_error_never_repeats_a_value() -> None:
    """It may be the token."""
    for line in (f"{EM}token=secret", "--token =secret"):
        with pytest.raises(UsageError) as caught:
            sort_words(UP, line)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "line", ["help", "?", " help ;", "--help", "llama3 -h", "--tokn --help"]
)
def test_a_request_for_help_is_recognised(line: str) -> None:
    """A bare ``help`` only if it is alone: a key may have that name."""
    assert asks_for_help(line)
    assert not asks_for_help("add help")


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
def test_a_line_that_may_be_correct_is_accepted(line: str) -> None:
    """Quotes in quotes, dashes in words, a model called true."""
    parsed = sort_words(ASK if "system" in line else UP, line)
    assert parsed.words or parsed.options
