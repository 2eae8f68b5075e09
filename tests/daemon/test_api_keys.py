"""Keys made, checked and taken back, as values."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from spicy_avocado_magic.config.api_key_options import ApiKeyRequest
from spicy_avocado_magic.config.api_keys import MAX_NAMED_KEYS, ApiKey
from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.daemon.api_keys import add_api_key, new_secret, remove_api_key
from spicy_avocado_magic.daemon.traffic import api_key_states
from spicy_avocado_magic.errors import UsageError
from spicy_avocado_magic.gateway.counters import Metrics, UsageCounter

NOW = 1_000_000.0
ANN = ApiKey(name="ann", secret="avocado-ann", id="1", expires_at=NOW + 60)
SHARED = Settings(models=("tiny", "other"), api_key="avocado-owner", keys=(ANN,))


def test_a_key_has_a_secret_and_id_of_its_own_and_what_was_granted() -> None:
    """Nothing that was asked for is lost."""
    grant = ApiKeyRequest(
        name="bob", rpm=3, tokens=9, models=("Tiny:latest",), expires_s=60, manage=True
    )
    settings, bob = add_api_key(replace(SHARED, manage=True), grant, NOW)
    assert settings.keys == (ANN, bob)
    assert bob == ApiKey(
        name="bob",
        secret=bob.secret,
        id=bob.id,
        rpm=3,
        tokens=9,
        models=("Tiny:latest",),
        expires_at=NOW + 60,
        manage=True,
    )
    _, again = add_api_key(SHARED, ApiKeyRequest(name="bob"), NOW)
    assert len({bob.secret, again.secret, ANN.secret}) == 3, "a secret is there twice"
    assert len({bob.id, again.id, ANN.id, ""}) == 4, "an id is there twice"
    assert again.expires_at == 0, "a key without a time expires"


def test_a_secret_is_long_and_can_stand_in_a_header_and_path() -> None:
    """As that of the owner."""
    assert Settings().merged({"api_key": new_secret(), "models": ("tiny",)}).api_key
    assert len(new_secret()) >= 40


@pytest.mark.parametrize(
    ("changes", "grant", "words"),
    [
        ({}, {"name": "ann"}, "already"),
        ({"no_auth": True}, {"name": "bob"}, "--no-auth=false"),
        ({}, {"name": "bob", "manage": True}, "--manage"),
        ({}, {"name": "bob", "models": ("tinny",)}, "Did you mean tiny"),
        ({}, {"name": "bob", "models": ("tiny", "zzz")}, "Served: tiny, other"),
        (
            {
                "keys": tuple(
                    ApiKey(name=f"k{number}", secret="s")
                    for number in range(MAX_NAMED_KEYS)
                )
            },
            {"name": "bob"},
            str(MAX_NAMED_KEYS),
        ),
    ],
)
def test_a_key_without_use_is_not_made(
    changes: dict[str, Any], grant: dict[str, Any], words: str
) -> None:
    """Each refusal says what to do instead."""
    with pytest.raises(UsageError, match=words):
        add_api_key(replace(SHARED, **changes), ApiKeyRequest(**grant), NOW)


def test_where_any_model_is_served_a_key_may_have_any() -> None:
    """It may be installed later."""
    settings = replace(SHARED, any_model=True)
    _, key = add_api_key(settings, ApiKeyRequest(name="bob", models=("later",)), NOW)
    assert key.models == ("later",)


def test_an_expired_keys_name_can_be_reused() -> None:
    """The name of a valid key cannot."""
    settings, key = add_api_key(SHARED, ApiKeyRequest(name="ann"), NOW + 60)
    assert settings.keys == (key,)
    assert key.id != ANN.id, "the new key is taken for the old one"
    with pytest.raises(UsageError, match="already"):
        add_api_key(SHARED, ApiKeyRequest(name="ann"), NOW + 59)


def test_a_key_is_taken_back_by_its_name() -> None:
    """Whether it is expired or not."""
    assert remove_api_key(SHARED, "ann").keys == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [("anne", "Did you mean ann"), ("zzz", "lists them"), ("owner", "--api-key")],
)
def test_an_unknown_key_gets_the_nearest_match(name: str, words: str) -> None:
    """The owner's key is no named one."""
    with pytest.raises(UsageError, match=words):
        remove_api_key(SHARED, name)


def test_every_key_is_listed_with_its_usage_and_without_its_secret() -> None:
    """The owner's first."""
    last = time.monotonic() - 5
    metrics = Metrics()
    metrics.keys["ann"] = UsageCounter(
        requests=2, tokens_in=3, tokens_out=4, is_estimate=True, last=last
    )
    owner, ann = api_key_states(replace(SHARED, manage=True), metrics, NOW + 90)
    assert (owner.name, owner.manage, owner.requests) == ("owner", True, 0)
    assert owner.idle_s is None, "a key that was never used has a last use"
    assert (ann.requests, ann.tokens_in, ann.tokens_out) == (2, 3, 4)
    assert ann.is_estimate
    assert ann.expires_in_s == 0, "an expired key is not shown as expired"
    assert ann.idle_s is not None
    assert 5 <= ann.idle_s < 60
    assert "avocado-" not in f"{owner}{ann}"


def test_without_keys_there_is_anybody_alone() -> None:
    """Under ``--no-auth`` no name means anything."""
    states = api_key_states(replace(SHARED, no_auth=True), Metrics(), NOW)
    assert [state.name for state in states] == ["anybody"]
