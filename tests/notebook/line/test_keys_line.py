"""Lines of ``%avocado_keys``."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.config.api_key_options import ApiKeyRequest
from spicy_avocado_magic.errors import SecretMissing, UsageError
from spicy_avocado_magic.notebook.line.commands import KEYS
from spicy_avocado_magic.notebook.line.keys_line import KeysCommand, read_keys_line
from spicy_avocado_magic.notebook.line.variables import VariableResolver

NAMES = VariableResolver(
    namespace={"WHO": "ann", "MODELS": ["tiny", "b:c"], "N": 5}, environ={"LATER": "2h"}
)


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("", KeysCommand()),
        ("--rehearse", KeysCommand(rehearse=True)),
        ("--rehearse=false  # the real one", KeysCommand()),
        ("revoke ann", KeysCommand(revoke="ann")),
        ("revoke $WHO --rehearse", KeysCommand(revoke="ann", rehearse=True)),
        ("add ann;", KeysCommand(add=ApiKeyRequest(name="ann"))),
        (
            "--manage add $WHO --rpm $N --tokens=7 --models $MODELS --expires $LATER",
            KeysCommand(
                add=ApiKeyRequest(
                    name="ann",
                    rpm=5,
                    tokens=7,
                    models=("tiny", "b:c"),
                    expires_s=7200.0,
                    manage=True,
                )
            ),
        ),
        (
            "add bob --models a,b --models c --manage=false",
            KeysCommand(add=ApiKeyRequest(name="bob", models=("a", "b", "c"))),
        ),
    ],
)
def test_a_line_asks_for_the_list_for_a_key_or_for_its_end(
    line: str, asked: KeysCommand
) -> None:
    """``$NAME`` is looked up as in the other magics."""
    assert read_keys_line(line, NAMES) == asked


@pytest.mark.parametrize("line", ["--help", "-h", "add ann --help"])
def test_help_is_help_wherever_it_stands(line: str) -> None:
    """Nothing is done then."""
    assert read_keys_line(line, NAMES) is None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ad ann", "Did you mean add"),
        ("revok ann", "Did you mean revoke"),
        ("ann", "Use add NAME, revoke NAME, or no word"),
        ("add", "name is missing"),
        ("revoke", "name is missing"),
        ("add ann bob", "'bob' is one word too many"),
        ("add ann --tokns 5", "Did you mean --tokens"),
        ("add ann --rpm", "--rpm needs a value"),
        ("add ann --rpm 0", "--rpm: '0'"),
        ("add ann --rpm -5", "--rpm: '-5'"),
        ("add ann --models a/b/c/d", "--models"),
        ("add ann --expires never", "--expires"),
        ("add ann --manage=perhaps", "--manage"),
        ("add owner", "cannot be the name"),
        ("add '<img>'", "cannot be the name"),
        ("--rpm 5", "--rpm goes with a new key"),
        ("revoke ann --rpm 5", "--rpm goes with a new key"),
        ("add {WHO}", r"\$WHO"),
        ("add 'ann", "quote"),
    ],
)
def test_a_line_that_cannot_be_is_refused_with_a_remedy(line: str, words: str) -> None:
    """The nearest word or option is named where there is one."""
    with pytest.raises(UsageError, match=words):
        read_keys_line(line, NAMES)


def test_a_name_that_is_nowhere_is_told() -> None:
    """No key is made for a dollar sign."""
    with pytest.raises(SecretMissing, match="NOPE"):
        read_keys_line("add $NOPE", NAMES)


def test_the_examples_of_the_help_can_be_typed() -> None:
    """What it shows works."""
    for line in KEYS.examples:
        assert read_keys_line(line.removeprefix("%avocado_keys"), NAMES), line
