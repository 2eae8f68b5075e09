"""The table of options."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from spicy_avocado_magic.config.options import (
    ENGINE_VARIABLES,
    ENGINE_VARIABLES_OURS,
    OPTION_BY_NAME,
    OPTIONS,
    UpRequest,
    build_up_request,
    parse_flag,
    parse_folder,
    parse_text,
    parse_variables,
)
from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.errors import UsageError


def test_every_option_names_a_field_of_the_settings_or_of_the_call() -> None:
    """No option is parsed and then ignored."""
    settings = {field.name for field in fields(Settings)}
    switches = {field.name for field in fields(UpRequest)}
    for option in OPTIONS:
        home = settings if option.is_setting else switches
        assert option.name in home, option.name


def test_every_setting_says_which_components_restart() -> None:
    """A forgotten ``restarts`` does not silently mean that a change applies live."""
    settings = {field.name for field in fields(Settings)}
    silent = [o.name for o in OPTIONS if o.name in settings and o.restarts is None]
    assert not silent, f"write restarts=() or the components that restart: {silent}"


def test_excluded_settings_and_engine_variables_exist() -> None:
    """A renamed setting or variable does not silently lose its rule."""
    settings = {field.name for field in fields(Settings)}
    for option in OPTIONS:
        assert settings.issuperset(option.excludes), option.name
        if option.engine_variable:
            assert option.engine_variable in ENGINE_VARIABLES, option.name


def test_no_engine_variable_is_both_allowed_and_reserved() -> None:
    """The variables that a user may set and those that are ours are disjoint."""
    assert not ENGINE_VARIABLES & ENGINE_VARIABLES_OURS.keys()


def test_no_two_options_share_a_spelling() -> None:
    """Each option has its own flag, variable and name."""
    for spelling in ("flag", "variable", "python_name"):
        spellings = [getattr(option, spelling) for option in OPTIONS]
        assert len(set(spellings)) == len(OPTIONS), spelling


@pytest.mark.parametrize(
    ("name", "flag", "variable"),
    [
        ("token", "--token", "NGROK_AUTHTOKEN"),
        ("domain", "--domain", "NGROK_DOMAIN"),
        ("ttl", "--ttl", "AVOCADO_TTL"),
        ("models_dir", "--models-dir", "AVOCADO_MODELS_DIR"),
    ],
)
def test_an_option_has_three_spellings(name: str, flag: str, variable: str) -> None:
    """The line, the cell body and Python agree on what an option is."""
    option = OPTION_BY_NAME[name]
    assert (option.flag, option.variable) == (flag, variable)


@pytest.mark.parametrize("name", ["token", "api_key"])
def test_secret_options_are_marked_in_the_table(name: str) -> None:
    """Everything that hides secrets reads the table."""
    assert OPTION_BY_NAME[name].is_secret


def test_a_cell_body_sets_options_and_engine_variables() -> None:
    """Values are parsed as on the line."""
    parsed = parse_variables(
        {
            "NGROK_DOMAIN": "a.ngrok.app",
            "AVOCADO_PORT": "8000",
            "AVOCADO_TTL": "2h",
            "AVOCADO_LOCAL": "no",
            "OLLAMA_NUM_PARALLEL": "4",
            "AVOCADO_MODELS": "a, b",
        }
    )
    assert parsed == {
        "domain": "a.ngrok.app",
        "port": 8000,
        "ttl_s": 7200.0,
        "local": False,
        "engine_env": (("OLLAMA_NUM_PARALLEL", "4"),),
        "models": ("a", "b"),
    }


@pytest.mark.parametrize(
    ("variables", "hint"),
    [
        ({"OLLAMA_NUM_PARALEL": "4"}, "OLLAMA_NUM_PARALLEL"),
        ({"AVOCADO_PROT": "1"}, "AVOCADO_PORT"),
        ({"OLLAMA_HOST": "0.0.0.0"}, "--port"),
        ({"OLLAMA_MODELS": "/x"}, "--models-dir"),
        ({"QQQ": "1"}, "--help"),
        ({"AVOCADO_PORT": None}, "AVOCADO_PORT=value"),
        ({"AVOCADO_PORT": "many"}, "65535"),
    ],
)
def test_the_error_for_a_wrong_line_of_the_body_says_what_to_write(
    variables: dict[str, str | None], hint: str
) -> None:
    """A misspelt or misused key gets the key or the option to use instead."""
    with pytest.raises(UsageError) as caught:
        parse_variables(variables)
    assert hint in str(caught.value)


def test_an_up_request_separates_settings_from_the_options_of_the_call() -> None:
    """An option that steers one call is not stored as a setting."""
    request = build_up_request(
        {"port": 1, "only": True, "restart": False, "models": ("a",)}
    )
    assert request == UpRequest(given={"port": 1, "models": ("a",)}, only=True)


@pytest.mark.parametrize(
    ("text", "value"), [("TRUE", True), (" on ", True), ("0", False), ("No", False)]
)
def test_a_flag_may_have_a_value(text: str, value: bool) -> None:
    """In a cell body a flag has a value."""
    assert parse_flag(text) is value


@pytest.mark.parametrize(
    ("parse", "text"), [(parse_flag, "maybe"), (parse_text, ""), (parse_folder, "")]
)
def test_an_empty_or_unclear_value_is_refused(parse: Any, text: str) -> None:
    """The user learns of it before anything starts."""
    with pytest.raises(UsageError):
        parse(text)


def test_a_folder_becomes_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon does not run in the folder of the notebook."""
    monkeypatch.setenv("HOME", "/home/me")
    assert parse_folder("~/models") == "/home/me/models"
    assert parse_folder("models") == str(Path.cwd() / "models")


def test_every_option_has_a_variable_with_our_prefix() -> None:
    """Token and domain may be written as ``AVOCADO_…`` as well."""
    parsed = parse_variables({"AVOCADO_TOKEN": "t", "AVOCADO_DOMAIN": "a.ngrok.app"})
    assert parsed == {"token": "t", "domain": "a.ngrok.app"}
