"""What ``$NAME`` stands for."""

from __future__ import annotations

from spicy_avocado_magic.notebook.names import Names, is_name
from spicy_avocado_magic.secrets import Secret


def test_only_a_whole_name_is_a_name() -> None:
    """A dollar inside a value stays what it is."""
    texts = ["$A", "${A}", "a$A", "$A-b", "$", "A", "$A $B"]
    assert [is_name(text) for text in texts] == [True, True, *[False] * 5]


def test_a_text_with_a_dollar_inside_is_left_alone() -> None:
    """Keys may hold anything."""
    assert Names(namespace={"A": "x"}, environ={}).resolve("pa$A") == "pa$A"


def test_a_secret_is_opened() -> None:
    """A masked value works as a variable."""
    names = Names(namespace={"A": Secret("open")}, environ={})
    assert names.resolve("$A") == "open"
