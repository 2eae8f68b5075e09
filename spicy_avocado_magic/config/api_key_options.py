"""What a key for somebody else may be given: its options, and the grant they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import UsageError
from ..protocol.usage import KeyLimits
from .api_keys import validate_key_name
from .model_name import ModelName
from .options import Option, parse_flag
from .validators import parse_duration_s, validate_model

MAX_RPM: Final = 100_000
"""The times of that many requests are kept for a minute."""
MOST_TOKENS: Final = 10**12
LONGEST_S: Final = 10 * 365 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyRequest(KeyLimits):
    """What somebody else shall have; the key for it is made by the host.

    Attributes:
        expires_s: Seconds from now; 0 is never.

    Raises:
        UsageError: If the name cannot be one.
    """

    expires_s: float = 0.0

    def __post_init__(self) -> None:
        validate_key_name(self.name)


def parse_models(text: str) -> tuple[str, ...]:
    """Return the models in a list with commas, each once; none is a mistake."""
    names = [validate_model(word) for word in text.replace(",", " ").split()]
    if not names:
        raise UsageError("No model is named.", "Write --models llama3,qwen3:8b.")
    seen = {ModelName.parse(name).key: name for name in reversed(names)}
    return tuple(dict.fromkeys(seen[ModelName.parse(name).key] for name in names))


def parse_rpm(text: str) -> int:
    """Return requests a minute."""
    return _count(text, MAX_RPM, "60")


def parse_tokens(text: str) -> int:
    """Return a number of tokens."""
    return _count(text, MOST_TOKENS, "100000")


def parse_expiry_s(text: str) -> float:
    """Return after how many seconds a key expires."""
    seconds = parse_duration_s(text)
    if 0 < seconds <= LONGEST_S:
        return seconds
    raise UsageError(
        f"A key cannot expire after {text}.",
        "Use a time such as 2h, of ten years at most, or leave it out for never.",
    )


def _count(text: str, most: int, like: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)):
        number = int(text)
        if 0 < number <= most:
            return number
    raise UsageError(
        f"{text!r} is not a number from 1 to {most}.",
        f"Use one such as {like}, or leave it out for no bound.",
    )


KEY_OPTIONS: Final[tuple[Option, ...]] = (
    Option(
        name="rpm",
        metavar="N",
        parse=parse_rpm,
        help="requests a minute; by default the bound that holds for everybody",
    ),
    Option(
        name="tokens",
        metavar="N",
        parse=parse_tokens,
        help="tokens in and out, over the key's lifetime; by default without bound",
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
        help="let nobody in with it after this long; by default never",
    ),
    Option(
        name="manage",
        parse=parse_flag,
        help="let it pull, create, copy and delete models, where the service may",
    ),
)
KEY_OPTION_BY_NAME: Final = {option.python_name: option for option in KEY_OPTIONS}


def build_api_key_request(name: str, parsed: Mapping[str, Any]) -> ApiKeyRequest:
    """Return the grant that parsed options make.

    Raises:
        UsageError: If the name cannot be one.
    """
    return ApiKeyRequest(name=name, **parsed)
