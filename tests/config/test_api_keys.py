"""Named API keys as values."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.config.api_keys import ApiKey, validate_key_name
from spicy_avocado_magic.errors import UsageError


@pytest.mark.parametrize("name", ["ann", "Ann.B_c-2", "7", "a" * 40])
def test_a_name_of_letters_digits_and_marks_is_valid(name: str) -> None:
    """It is safe in a line, a label and a log."""
    assert validate_key_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "-a", ".a", "a b", "a\n", "ä", "<b>", "a" * 41, "owner", "anybody", "$A"],
)
def test_any_other_name_is_refused(name: str) -> None:
    """Names that a shell or page would interpret, and reserved ones."""
    with pytest.raises(UsageError, match="cannot be the name"):
        validate_key_name(name)


def test_a_key_expires_at_its_time_and_not_before() -> None:
    """Zero is never."""
    key = ApiKey(name="ann", secret="s", expires_at=100.0)
    assert not key.is_expired(99.9), "it expired early"
    assert key.is_expired(100.0), "it outlived its time"
    assert not ApiKey(name="ann", secret="s").is_expired(1e12), "never came"


def test_the_secret_of_a_key_is_not_in_its_repr() -> None:
    """A log line or an error about a key does not reveal it."""
    assert "hidden" not in repr(ApiKey(name="ann", secret="hidden"))


def test_a_token_in_place_of_a_name_is_not_repeated() -> None:
    """It is a secret, wherever it was typed."""
    token = "2" + "a" * 26 + "_" + "b" * 21
    with pytest.raises(UsageError) as caught:
        validate_key_name(token)
    assert token not in str(caught.value)
