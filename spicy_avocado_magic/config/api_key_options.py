"""Options of a named API key, and the request that they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import UsageError
from ..protocol.usage import KeyLimits
from .api_keys import validate_key_name
from .model_name import unique_models
from .options import Option, parse_flag
from .validators import parse_duration_s, parse_whole_number, validate_model

MAX_RPM: Final = 100_000
"""The times of that many requests are stored for a minute."""
MAX_TOKENS: Final = 10**12
MAX_EXPIRY_S: Final = 10 * 365 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRequest(KeyLimits):
    """Limits of a key that the daemon is to create.

    Attributes:
        expires_s: Seconds from now; 0 is never.

    Raises:
        UsageError: If the name is not valid.
    """

    expires_s: float = 0.0

    def __post_init__(self) -> None:
        validate_key_name(self.name)


def parse_models(text: str) -> tuple[str, ...]:
    """Return the models in a comma-separated list, each once.

    Raises:
        UsageError: If the list is empty, or a name is not valid.
    """
    names = [validate_model(word) for word in text.replace(",", " ").split()]
    if not names:
        raise UsageError("No model is named.", "Write --models llama3,qwen3:8b.")
    return unique_models(names)


def parse_rpm(text: str) -> int:
    """Return a number of requests a minute."""
    return _parse_limit(text, MAX_RPM, "60")


def parse_tokens(text: str) -> int:
    """Return a number of tokens."""
    return _parse_limit(text, MAX_TOKENS, "100000")


def parse_expiry_s(text: str) -> float:
    """Return the seconds until a key expires, ten years at most."""
    seconds = parse_duration_s(text)
    if 0 < seconds <= MAX_EXPIRY_S:
        return seconds
    raise UsageError(
        f"A key cannot expire after {text}.",
        "Use a time such as 2h, of ten years at most, or leave it out for never.",
    )


def _parse_limit(text: str, largest: int, example: str) -> int:
    number = parse_whole_number(text) or 0
    if 0 < number <= largest:
        return number
    raise UsageError(
        f"{text!r} is not a number from 1 to {largest}.",
        f"Use one such as {example}, or leave it out for no limit.",
    )


KEY_OPTIONS: Final[tuple[Option, ...]] = (
    Option(
        name="rpm",
        metavar="N",
        parse=parse_rpm,
        help="requests a minute; by default the limit of the whole service",
    ),
    Option(
        name="tokens",
        metavar="N",
        parse=parse_tokens,
        help="tokens in and out, over the key's lifetime; by default unlimited",
    ),
    Option(
        name="models",
        metavar="a,b",
        parse=parse_models,
        repeats=True,
        help="the only models it may use; by default all that are served",
    ),
    Option(
        name="expires_s",
        metavar="2h",
        parse=parse_expiry_s,
        help="refuse it after this long; by default never",
    ),
    Option(
        name="manage",
        parse=parse_flag,
        help="let it pull, create, copy and delete models, if the service may",
    ),
)
KEY_OPTION_BY_NAME: Final = {option.python_name: option for option in KEY_OPTIONS}


def build_api_key_request(name: str, parsed: Mapping[str, Any]) -> ApiKeyRequest:
    """Return the request for a key with these parsed options.

    Raises:
        UsageError: If the name is not valid.
    """
    return ApiKeyRequest(name=name, **parsed)
