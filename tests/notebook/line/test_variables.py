"""Lookup of ``$NAME``."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.notebook.line.variables import VariableResolver, is_variable
from spicy_avocado_magic.system.redaction import Secret


def test_only_a_whole_word_is_a_variable() -> None:
    """A dollar inside a value is kept."""
    texts = ["$A", "${A}", "a$A", "$A-b", "$", "A", "$A $B"]
    assert [is_variable(text) for text in texts] == [True, True, *[False] * 5]


def test_a_text_with_a_dollar_inside_is_kept() -> None:
    """Keys may contain it."""
    assert VariableResolver(namespace={"A": "x"}, environ={}).resolve("pa$A") == "pa$A"


def test_the_value_of_a_secret_is_used() -> None:
    """A masked ``Secret`` works as a variable."""
    names = VariableResolver(namespace={"A": Secret("open")}, environ={})
    assert names.resolve("$A") == "open"


def test_a_word_may_name_several_models() -> None:
    """Separated by commas, as in a variable."""
    names = VariableResolver(namespace={"A": "c, d"}, environ={})
    found = [names.models(text) for text in ("a,b", "a,", "a", "$A", "a b", ",")]
    assert found == [("a", "b"), ("a",), ("a",), ("c", "d"), ("a b",), (",",)]


@pytest.mark.parametrize("text", ["llama3:$SIZE", "llama3:{size}", "a,$B", "{1+1}"])
def test_a_variable_inside_a_models_name_is_refused(text: str) -> None:
    """The error says what to do."""
    with pytest.raises(UsageError, match=r"inside a word.*MODEL = "):
        VariableResolver(namespace={}, environ={}).models(text)
