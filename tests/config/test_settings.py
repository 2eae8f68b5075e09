"""Settings: validation, merging, and the components that a change restarts."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from spicy_avocado_magic.config.options import OPTIONS
from spicy_avocado_magic.config.settings import (
    RESTARTS_COMPONENTS,
    Settings,
)
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.protocol.pool import POOL_KEY_CHARACTERS
from spicy_avocado_magic.protocol.state import COMPONENTS

POOL = {"pool": True, "domain": "a.ngrok.app", "api_key": "one-key-for-all-of-us"}


def test_an_option_not_given_keeps_its_running_value() -> None:
    """``up`` is declarative: only what is given changes."""
    before = Settings(models=("a",), port=8000, hide_key=True)
    after = before.merged({"context": 4096})
    assert after == replace(before, context=4096)
    assert before.merged({}) == before


def test_models_given_are_added_once() -> None:
    """Another spelling of a wanted model is the same model; the first one stays."""
    after = Settings(models=("a", "b")).merged({"models": ("A:latest", "c", "b")})
    assert after.models == ("a", "b", "c")


def test_only_makes_the_list_exact() -> None:
    """With ``--only`` what is not named goes."""
    after = Settings(models=("a", "b")).merged({"models": ("c", "b")}, only=True)
    assert after.models == ("c", "b")


def test_engine_variables_are_added_to_those_set_before() -> None:
    """A new value replaces the old one of the same variable."""
    before = Settings(engine_env=(("OLLAMA_DEBUG", "1"), ("OLLAMA_MAX_QUEUE", "9")))
    after = before.merged({"engine_env": (("OLLAMA_DEBUG", "0"),)})
    assert dict(after.engine_env) == {"OLLAMA_DEBUG": "0", "OLLAMA_MAX_QUEUE": "9"}


def test_an_option_wins_over_the_engine_variable_that_it_sets() -> None:
    """In whatever order they came, and a default leaves the variable alone."""
    env = (("OLLAMA_CONTEXT_LENGTH", "4096"), ("OLLAMA_NUM_PARALLEL", "4"))
    running = Settings().merged({"engine_env": env})
    assert running.engine_variables() == dict(env)
    expected = dict(env) | {"OLLAMA_CONTEXT_LENGTH": "8192"}
    assert running.merged({"context": 8192}).engine_variables() == expected
    late = Settings().merged({"context": 8192}).merged({"engine_env": env})
    assert late.engine_variables() == expected, "the variable won over --context"


def test_a_key_of_the_user_is_not_a_generated_one() -> None:
    """Only a generated key may be shown in full."""
    before = Settings(api_key="made-by-us", key_is_generated=True)
    assert not before.merged({"api_key": "my-own-key"}).key_is_generated
    assert before.merged({}).key_is_generated


@pytest.mark.parametrize(
    "given",
    [
        {"local": True, "domain": "a.ngrok.app"},
        {"no_auth": True, "manage": True},
        {"no_auth": True, "path_key": True},
        {"models": ("not a name",)},
        {**POOL, "domain": ""},
        {**POOL, "api_key": ""},
        {**POOL, "api_key": "k" * (POOL_KEY_CHARACTERS - 1)},
        {**POOL, "no_auth": True},
        {**POOL, "local": True},
    ],
)
def test_settings_that_contradict_each_other_are_refused(given: dict[str, Any]) -> None:
    """The user learns of it before anything starts."""
    with pytest.raises(UsageError):
        Settings().merged(given)


@pytest.mark.parametrize(
    ("running", "given"),
    [
        ({"domain": "a.ngrok.app"}, "local"),
        ({"manage": True}, "no_auth"),
        ({"path_key": True}, "no_auth"),
        ({"no_auth": True}, "manage"),
        (POOL, "local"),
    ],
)
def test_a_given_setting_wins_over_a_running_one_that_it_excludes(
    running: dict[str, Any], given: str
) -> None:
    """No error asks to leave out an option that was not typed."""
    merged = Settings().merged(running).merged({given: True})
    assert getattr(merged, given) is True
    assert not any(getattr(merged, name) for name in running if name != "api_key")


def test_a_pool_needs_a_key_of_the_user() -> None:
    """The other notebooks could not have the same generated key."""
    running = Settings(api_key="avocado-" + "k" * 32, key_is_generated=True)
    with pytest.raises(UsageError, match="that you choose"):
        running.merged({"pool": True, "domain": "a.ngrok.app"})
    assert running.merged(POOL).pool


def test_a_change_restarts_only_the_components_that_use_it() -> None:
    """A live setting restarts nothing; a port restarts gateway and tunnel."""
    before = Settings(models=("a",))
    assert before.changed_components(before) == frozenset()
    live = replace(before, api_key="another-key", hide_key=True, manage=True)
    assert before.changed_components(live) == frozenset()
    moved = replace(before, port=8000, context=1)
    assert before.changed_components(moved) == {"gateway", "tunnel", "engine"}


def test_a_new_key_restarts_the_tunnel_only_in_a_pool() -> None:
    """Members of a pool authenticate with the key; else a key changes live."""
    pooled = Settings().merged(POOL)
    rekeyed = replace(pooled, api_key="another-key-of-mine-0001")
    assert pooled.changed_components(rekeyed) == {"tunnel"}
    assert replace(pooled, pool=False).changed_components(pooled) == {"tunnel"}


def test_replacing_a_generated_key_is_one_difference() -> None:
    """The flag that marks a generated key is not listed as a change."""
    before = Settings(api_key="made-by-us", key_is_generated=True)
    own = before.merged({"api_key": "my-own-key"})
    assert before.differences(own) == {"api_key"}


def test_restarts_name_existing_settings_and_components() -> None:
    """A renamed setting does not silently become a live one."""
    assert RESTARTS_COMPONENTS.keys() <= {field.name for field in fields(Settings)}
    assert frozenset().union(*RESTARTS_COMPONENTS.values()) <= set(COMPONENTS)


def test_secrets_are_not_in_the_repr() -> None:
    """Printing settings, as a traceback may, shows no secret."""
    shown = repr(Settings(token="t0ken-t0ken", api_key="k3y-k3y-k3y"))
    assert "t0ken" not in shown
    assert "k3y" not in shown


def test_every_field_that_is_no_option_is_known() -> None:
    """A new field gets a row in the table of options, or is listed here."""
    others = {"models", "engine_env", "key_is_generated", "keys"}
    others |= {"metrics_token", "sources"}
    options = {option.name for option in OPTIONS if option.is_setting}
    assert {field.name for field in fields(Settings)} == options | others
