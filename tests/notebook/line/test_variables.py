"""What ``$NAME`` stands for."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.notebook.line.variables import VariableResolver, is_variable
from spicy_avocado_magic.system.redaction import Secret


def test_only_a_whole_name_is_a_name() -> None:
    """A dollar inside a value stays what it is."""
    texts = ["$A", "${A}", "a$A", "$A-b", "$", "A", "$A $B"]
    assert [is_variable(text) for text in texts] == [True, True, *[False] * 5]


def test_a_text_with_a_dollar_inside_is_left_alone() -> None:
    """Keys may hold anything."""
    assert VariableResolver(namespace={"A": "x"}, environ={}).resolve("pa$A") == "pa$A"


def test_a_secret_is_opened() -> None:
    """A masked value works as a variable."""
    names = VariableResolver(namespace={"A": Secret("open")}, environ={})
    assert names.resolve("$A") == "open"


def test_a_word_may_name_several_models() -> None:
    """Between commas, as a variable may."""
    names = VariableResolver(namespace={"A": "c, d"}, environ={})
    found = [names.models(text) for text in ("a,b", "a,", "a", "$A", "a b", ",")]
    assert found == [("a", "b"), ("a",), ("a",), ("c", "d"), ("a b",), (",",)]


@pytest.mark.parametrize("text", ["llama3:$SIZE", "llama3:{size}", "a,$B", "{1+1}"])
def test_nothing_is_filled_in_inside_a_models_name(text: str) -> None:
    """And that is said, with what to do."""
    with pytest.raises(UsageError, match=r"inside a word.*MODEL = "):
        VariableResolver(namespace={}, environ={}).models(text)
