"""Options of a named API key."""

from __future__ import annotations

from typing import Any

import pytest

from spicy_avocado_magic.config.api_key_options import (
    KEY_OPTION_BY_NAME,
    ApiKeyRequest,
    build_api_key_request,
    parse_models,
)
from spicy_avocado_magic.errors import UsageError


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        ("rpm", "1", 1),
        ("rpm", "100000", 100_000),
        ("tokens", "1000000000000", 10**12),
        ("expires", "1h30m", 5400.0),
        ("expires", "90", 90.0),
        ("models", "tiny,user/fine:q4", ("tiny", "user/fine:q4")),
        ("manage", "no", False),
    ],
)
def test_a_value_is_parsed(option: str, text: str, value: Any) -> None:
    """The limits themselves are allowed."""
    assert KEY_OPTION_BY_NAME[option].parse(text) == value


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("rpm", "0"),
        ("rpm", "100001"),
        ("rpm", "-5"),
        ("rpm", "6e1"),
        ("rpm", "٣"),
        ("rpm", "9" * 5000),
        ("tokens", "0"),
        ("tokens", "1.5"),
        ("tokens", "1000000000001"),
        ("expires", "0s"),
        ("expires", "soon"),
        ("expires", "87601h"),
        ("expires", "9" * 400 + "h"),
        ("models", ""),
        ("models", ","),
        ("models", "a b:c:d/e"),
        ("manage", "perhaps"),
    ],
)
def test_a_wrong_value_is_refused_with_a_remedy(option: str, text: str) -> None:
    """None of them silently means unlimited."""
    with pytest.raises(UsageError) as caught:
        KEY_OPTION_BY_NAME[option].parse(text)
    assert caught.value.remedy, "there is no remedy"


def test_a_model_is_listed_once_whatever_its_spelling() -> None:
    """The first spelling stays."""
    assert parse_models("Tiny, other tiny:latest") == ("Tiny", "other")


def test_a_key_request_has_a_valid_name() -> None:
    """Wherever it comes from, the control socket included."""
    assert build_api_key_request("ann", {"rpm": 5}) == ApiKeyRequest(name="ann", rpm=5)
    with pytest.raises(UsageError):
        ApiKeyRequest(name="an\nn")
