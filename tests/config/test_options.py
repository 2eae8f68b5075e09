"""The one table of options."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from spicy_avocado_magic.config.options import (
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


def test_every_option_is_a_setting_or_a_switch_of_the_call() -> None:
    """The table cannot name what nobody reads."""
    settings = {field.name for field in fields(Settings)}
    switches = {field.name for field in fields(UpRequest)}
    for option in OPTIONS:
        home = settings if option.is_setting else switches
        assert option.name in home, option.name


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
def test_secrets_are_marked_as_such(name: str) -> None:
    """What is secret is known from the table."""
    assert OPTION_BY_NAME[name].is_secret


def test_a_cell_body_sets_ours_and_the_engines() -> None:
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
    ("variables", "told"),
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
def test_a_wrong_line_of_the_body_tells_what_is_right(
    variables: dict[str, str | None], told: str
) -> None:
    """A misspelt or misused key names itself and what to write in its place."""
    with pytest.raises(UsageError) as caught:
        parse_variables(variables)
    assert told in str(caught.value)


def test_a_wish_splits_settings_from_switches() -> None:
    """What steers one call is not kept as a setting."""
    wish = build_up_request(
        {"port": 1, "only": True, "restart": False, "models": ("a",)}
    )
    assert wish == UpRequest(given={"port": 1, "models": ("a",)}, only=True)


@pytest.mark.parametrize(
    ("text", "value"), [("TRUE", True), (" on ", True), ("0", False), ("No", False)]
)
def test_a_flag_may_be_spelt_out(text: str, value: bool) -> None:
    """In a cell body a flag has a value."""
    assert parse_flag(text) is value


@pytest.mark.parametrize(
    ("parse", "text"), [(parse_flag, "maybe"), (parse_text, ""), (parse_folder, "")]
)
def test_a_value_that_says_nothing_is_refused(parse: Any, text: str) -> None:
    """Empty and unclear values are mistakes."""
    with pytest.raises(UsageError):
        parse(text)


def test_a_folder_is_made_absolute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host runs elsewhere than the notebook."""
    monkeypatch.setenv("HOME", "/home/me")
    assert parse_folder("~/models") == "/home/me/models"
    assert parse_folder("models") == str(Path.cwd() / "models")


def test_every_option_has_a_variable_of_our_own() -> None:
    """The token and the domain may be written as ``AVOCADO_…`` too."""
    parsed = parse_variables({"AVOCADO_TOKEN": "t", "AVOCADO_DOMAIN": "a.ngrok.app"})
    assert parsed == {"token": "t", "domain": "a.ngrok.app"}
