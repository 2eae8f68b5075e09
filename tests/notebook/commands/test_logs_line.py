"""Lines of ``%avocado_logs``."""

from __future__ import annotations

from typing import Any

import pytest

from spicy_avocado_magic.errors import SecretMissing, UsageError
from spicy_avocado_magic.notebook.line.command_table import LOGS
from spicy_avocado_magic.notebook.line.parser import asks_for_help, parse_line
from spicy_avocado_magic.notebook.line.variables import VariableResolver

VARIABLES = VariableResolver(namespace={"PART": "engine", "N": 7}, environ={})
NOTHING = {"component": "", "n": None, "follow": False, "rehearse": False}


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("", {}),
        ("engine", {"component": "engine"}),
        ("-n 20", {"n": 20}),
        ("tunnel -n=5 --follow;", {"component": "tunnel", "n": 5, "follow": True}),
        ("--follow=false --rehearse  # x", {"rehearse": True}),
        ("$PART -n $N", {"component": "engine", "n": 7}),
    ],
)
def test_component_count_and_flags_may_stand_in_any_order(
    line: str, values: dict[str, Any]
) -> None:
    """Variables are looked up."""
    assert parse_line(LOGS, line, VARIABLES) == NOTHING | values


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("engine tunnel", "'tunnel' is one word too many"),
        ("-n many", "'many' is not a number"),
        ("-n -5", "'-5' is not a number"),
        ("-n", "-n needs a value"),
        ("-m 5", "-m is not an option"),
        ("--folow", "Did you mean --follow"),
        ("--follow=perhaps", "--follow"),
    ],
)
def test_a_wrong_line_is_refused_with_a_remedy(line: str, words: str) -> None:
    """The error says what to write instead."""
    with pytest.raises(UsageError) as caught:
        parse_line(LOGS, line, VARIABLES)
    assert words in str(caught.value)


def test_an_undefined_variable_is_named() -> None:
    """As for every other magic."""
    with pytest.raises(SecretMissing, match="NOWHERE"):
        parse_line(LOGS, "$NOWHERE", VARIABLES)


def test_the_help_names_the_components_and_each_option() -> None:
    """Wherever ``--help`` stands on the line."""
    assert asks_for_help("engine --help")
    for word in ("[component]", "-n N", "--follow", "engine", "tunnel"):
        assert word in LOGS.help(), f"the help does not mention {word}"
