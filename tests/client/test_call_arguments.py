"""Keyword arguments of the Python API, parsed by the rules of the line."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any, get_args, get_type_hints

import pytest

from spicy_avocado_magic.client.call_arguments import (
    UpOptions,
    named_models,
    parse_keyword_arguments,
)
from spicy_avocado_magic.config.api_key_options import KEY_OPTIONS
from spicy_avocado_magic.config.options import OPTION_BY_NAME
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.system.redaction import Secret

TYPES = {name: get_args(hint) for name, hint in get_type_hints(UpOptions).items()}


def test_up_takes_the_options_of_the_table_and_no_others() -> None:
    """A new row of the table is completed by editors and checked by mypy, too."""
    assert set(TYPES) == set(OPTION_BY_NAME)


@pytest.mark.parametrize("name", list(OPTION_BY_NAME))
def test_the_types_of_an_argument_follow_from_its_option(name: str) -> None:
    """Flags are bool, secrets may be hidden, lists and mappings stand for commas."""
    option, types = OPTION_BY_NAME[name], TYPES[name]
    assert type(None) in types, "None must mean an argument that is left out"
    assert (bool in types) == option.is_flag
    assert (str in types) != option.is_flag
    assert (Secret in types) == option.is_secret
    assert (int in types) >= (option.metavar == "N")
    assert (PathLike[str] in types) == (option.metavar == "DIR")
    takes_many = any(getattr(hint, "__origin__", None) for hint in types)
    assert (takes_many and PathLike[str] not in types) == option.repeats
    is_mapping = any(getattr(h, "__origin__", None) is Mapping for h in types)
    assert is_mapping == ("=" in option.metavar)


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
def test_a_python_value_is_parsed_like_its_text_on_the_line(
    name: str, value: Any, parsed: dict[str, Any]
) -> None:
    """Lists, mappings, numbers and secrets have a text that the option parses."""
    assert parse_keyword_arguments("up", {name: value}, OPTION_BY_NAME) == parsed


def test_an_unknown_argument_gets_the_closest_match() -> None:
    """Without a similar argument the error points to the help."""
    with pytest.raises(UsageError, match="Did you mean domain=…"):
        parse_keyword_arguments("up", {"domian": "x"}, OPTION_BY_NAME)
    with pytest.raises(UsageError, match=r"help\(up\)"):
        parse_keyword_arguments("up", {"zzz": "x"}, OPTION_BY_NAME)


def test_the_error_for_a_model_given_by_name_says_where_it_goes() -> None:
    """The closest match would be ``any_model``; a key has its own ``models``."""
    for name in ("model", "models"):
        with pytest.raises(UsageError, match=r'Models go first.*up\("llama3"\)'):
            parse_keyword_arguments("up", {name: "llama3"}, OPTION_BY_NAME)
    of_keys = {option.python_name: option for option in KEY_OPTIONS}
    with pytest.raises(UsageError, match="Did you mean models"):
        parse_keyword_arguments("add_key", {"model": "llama3"}, of_keys)


def test_the_error_for_a_wrong_value_names_its_argument() -> None:
    """Whatever the wording of the option's own error is."""
    for name, value in (("local", "maybe"), ("models_dir", ""), ("port", "x")):
        with pytest.raises(UsageError) as caught:
            parse_keyword_arguments("up", {name: value}, OPTION_BY_NAME)
        assert name in caught.value.problem


def test_models_may_come_in_a_list() -> None:
    """A list may come from a variable of the notebook; other types are refused."""
    assert named_models(("a", ["b", "c"], ("d",))) == ("a", "b", "c", "d")
    assert named_models(()) == ()
    for wrong in (None, 3, {"a": "b"}):
        with pytest.raises(UsageError, match="A model's name is a text"):
            named_models((wrong,))
