"""Arguments of Python calls, read by the rules of the line."""

from __future__ import annotations

from typing import Any

import pytest

from spicy_avocado_magic.client.call_arguments import (
    named_models,
    parse_keyword_arguments,
)
from spicy_avocado_magic.config.api_key_options import KEY_OPTIONS
from spicy_avocado_magic.config.options import OPTION_BY_NAME
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.system.redaction import Secret


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
    assert parse_keyword_arguments("up", {name: value}, OPTION_BY_NAME) == parsed


def test_an_unknown_argument_gets_the_nearest_match() -> None:
    """Or the way to the help, where nothing is near."""
    with pytest.raises(UsageError, match="Did you mean domain"):
        parse_keyword_arguments("up", {"domian": "x"}, OPTION_BY_NAME)
    with pytest.raises(UsageError, match=r"help\(up\)"):
        parse_keyword_arguments("up", {"zzz": "x"}, OPTION_BY_NAME)


def test_a_model_as_an_option_is_told_where_it_goes() -> None:
    """Not ``any_model``, the nearest word; a key has its own ``models``."""
    for name in ("model", "models"):
        with pytest.raises(UsageError, match=r'Models go first.*up\("llama3"\)'):
            parse_keyword_arguments("up", {name: "llama3"}, OPTION_BY_NAME)
    of_keys = {option.python_name: option for option in KEY_OPTIONS}
    with pytest.raises(UsageError, match="Did you mean models"):
        parse_keyword_arguments("add_key", {"model": "llama3"}, of_keys)


def test_a_value_that_cannot_be_names_its_argument() -> None:
    """Once, in whatever words it is refused."""
    for name, value in (("local", "maybe"), ("models_dir", ""), ("port", "x")):
        with pytest.raises(UsageError) as caught:
            parse_keyword_arguments("up", {name: value}, OPTION_BY_NAME)
        assert name in caught.value.problem


def test_models_may_come_in_a_list() -> None:
    """As in a variable of the notebook; what is no text is refused."""
    assert named_models(("a", ["b", "c"], ("d",))) == ("a", "b", "c", "d")
    assert named_models(()) == ()
    for wrong in (None, 3, {"a": "b"}):
        with pytest.raises(UsageError, match="is no model's name"):
            named_models((wrong,))
