"""Lines of ``%avocado_logs``."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.errors import SecretMissing, UsageError
from spicy_avocado_magic.notebook.line.commands import LOGS
from spicy_avocado_magic.notebook.line.logs_line import LogsRequest, read_logs_line
from spicy_avocado_magic.notebook.line.variables import VariableResolver

NAMES = VariableResolver(namespace={"WHAT": "engine", "N": 7}, environ={})


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("", LogsRequest()),
        ("engine", LogsRequest(component="engine")),
        ("-n 20", LogsRequest(count=20)),
        (
            "tunnel -n=5 --follow;",
            LogsRequest(component="tunnel", count=5, follow=True),
        ),
        ("--follow=false --rehearse  # x", LogsRequest(rehearse=True)),
        ("$WHAT -n $N", LogsRequest(component="engine", count=7)),
    ],
)
def test_a_line_is_read(line: str, asked: LogsRequest) -> None:
    """Component, count and flags, in any order, names looked up."""
    assert read_logs_line(line, NAMES) == asked


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("engine tunnel", "'tunnel' is one word too many"),
        ("-n many", "'many' is no number"),
        ("-n -5", "'-5' is no number"),
        ("-n", "-n needs a value"),
        ("-m 5", "-m is not an option"),
        ("--folow", "Did you mean --follow"),
        ("--follow=perhaps", "--follow"),
    ],
)
def test_a_line_that_cannot_be_is_told(line: str, words: str) -> None:
    """With what to write instead."""
    with pytest.raises(UsageError) as caught:
        read_logs_line(line, NAMES)
    assert words in str(caught.value)


def test_a_name_that_is_nowhere_is_told() -> None:
    """As for every other magic."""
    with pytest.raises(SecretMissing, match="NOWHERE"):
        read_logs_line("$NOWHERE", NAMES)


def test_help_is_shown_instead() -> None:
    """It names the components and each option."""
    assert read_logs_line("engine --help", NAMES) is None
    for word in ("[component]", "-n N", "--follow", "engine", "tunnel"):
        assert word in LOGS.help(), f"the help does not tell of {word}"
