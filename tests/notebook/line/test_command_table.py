"""The table of commands and its help."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.config.options import OPTIONS
from spicy_avocado_magic.notebook.line.command_table import (
    ASK,
    DOWN,
    KEYS,
    MODEL,
    STATUS,
    UP,
    CommandSpec,
)
from spicy_avocado_magic.notebook.line.up_line import parse_up
from spicy_avocado_magic.notebook.line.variables import VariableResolver


@pytest.mark.parametrize(
    "command", [UP, STATUS, KEYS, DOWN, ASK, MODEL], ids=lambda c: c.name
)
def test_the_help_names_every_option(command: CommandSpec) -> None:
    """The table is the only list of options; the help is made from it."""
    text = command.help()
    missing = [option.flag for option in command.options if option.flag not in text]
    assert not missing
    assert all(len(line) <= 88 for line in text.splitlines()), "a line is too long"


def test_up_takes_every_option_of_the_table() -> None:
    """All options of Python can be typed."""
    assert set(UP.option_by_flag) == {option.flag for option in OPTIONS}


def test_the_examples_of_up_can_be_typed() -> None:
    """The help shows lines that work."""
    token = "2abcdefghijklmnopqrstuvwxyz_0123456789"
    names = VariableResolver(namespace={"NGROK": token, "MODEL": "llama3"}, environ={})
    cell, _, body = "\n".join(UP.examples).partition("\n\n")[2].partition("\n")
    lines = [line for line in UP.examples if line.startswith("%avocado_up")]
    assert len(lines) == 3
    for line in lines:
        assert parse_up(line.removeprefix("%avocado_up"), None, names).request.given
    request = parse_up(cell.removeprefix("%%avocado_up"), body, names).request
    assert request.given["models"] == ("qwen3:8b",)
