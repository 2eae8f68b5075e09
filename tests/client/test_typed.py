"""Arguments of Python calls, read by the rules of the line."""

from __future__ import annotations

from typing import Any

import pytest

from spicy_avocado_magic.client.typed import parse_call
from spicy_avocado_magic.errors import UsageMistake
from spicy_avocado_magic.options import OPTION_BY_NAME
from spicy_avocado_magic.secrets import Secret


@pytest.mark.parametrize(
    ("name", "value", "parsed"),
    [
        ("api_key", Secret("given-key-0123"), {"api_key": "given-key-0123"}),
        ("cors", ["https://a.example", "*"], {"cors": ("https://a.example", "*")}),
        ("limit", {"rpm": 60}, {"limits": (("rpm", 60.0),)}),
        ("ttl", 90, {"ttl_s": 90.0}),
        ("local", True, {"local": True}),
        ("domain", None, {}),
    ],
)
def test_a_value_of_python_is_read_as_typed(
    name: str, value: Any, parsed: dict[str, Any]
) -> None:
    """Lists, mappings, numbers and secrets say what their text would say."""
    assert parse_call("up", {name: value}, OPTION_BY_NAME) == parsed


def test_an_unknown_argument_gets_the_nearest_match() -> None:
    """Or the way to the help, where nothing is near."""
    with pytest.raises(UsageMistake, match="Did you mean domain"):
        parse_call("up", {"domian": "x"}, OPTION_BY_NAME)
    with pytest.raises(UsageMistake, match=r"help\(up\)"):
        parse_call("up", {"zzz": "x"}, OPTION_BY_NAME)
