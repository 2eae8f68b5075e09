"""The record fields that usage and key limits share."""

from __future__ import annotations

from spicy_avocado_magic.config.api_key_options import ApiKeyRequest
from spicy_avocado_magic.config.api_keys import ApiKey
from spicy_avocado_magic.protocol.json_codec import from_json, to_json
from spicy_avocado_magic.protocol.state import ApiKeyState, ModelUsage, TrafficStats
from spicy_avocado_magic.protocol.usage import (
    KeyLimits,
    UsageTotals,
    shared_fields,
)

_TOTALS = {"requests", "tokens_in", "tokens_out", "is_estimate"}
_LIMITS = {"name", "rpm", "tokens", "models", "manage"}


def test_shared_fields_are_those_of_the_base_alone() -> None:
    """They are the arguments for another record with the same base."""
    grant = ApiKeyRequest(name="ann", rpm=3, models=("tiny",), expires_s=60.0)
    limits = shared_fields(grant, KeyLimits)
    assert set(limits) == _LIMITS
    assert ApiKeyState(**limits) == ApiKeyState(name="ann", rpm=3, models=("tiny",))
    assert set(shared_fields(ApiKeyState(name="ann"), UsageTotals)) == _TOTALS


def test_the_json_of_keys_and_usage_is_flat() -> None:
    """Settings files, ``usage.json`` and ``--json`` keep their keys."""
    state = ApiKeyState(name="ann", rpm=3, tokens_in=5)
    assert set(to_json(state)) == {*_LIMITS, *_TOTALS, "expires_in_s", "idle_s"}
    assert from_json(ApiKeyState, to_json(state)) == state
    key = ApiKey(name="ann", secret="s", models=("tiny",))
    assert set(to_json(key)) == {*_LIMITS, "secret", "id", "expires_at"}
    assert from_json(ApiKey, to_json(key)) == key
    assert set(to_json(ModelUsage(name="tiny"))) == {*_TOTALS, "name"}
    assert _TOTALS - {"requests"} < set(to_json(TrafficStats()))


def test_a_secret_is_not_in_the_text_of_a_key() -> None:
    """Inherited fields must not bring it back."""
    assert "hidden" not in repr(ApiKey(name="ann", secret="hidden"))
