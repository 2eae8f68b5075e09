"""Named keys: given to other people, each within bounds of its own."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

from ..config.credentials import looks_like_token
from ..errors import UsageError
from ..protocol.usage import KeyLimits

OWNER: Final = "owner"
"""Stands for the owner's key wherever use is told by key."""
ANONYMOUS: Final = "anybody"
"""Stands for every caller under ``--no-auth``."""
MAX_NAMED_KEYS: Final = 100
"""Each request is compared with every key, so that time tells nothing."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey(KeyLimits):
    """A key that the owner gave to somebody else.

    Attributes:
        secret: What its holder sends.
        id: Tells it from another key of the same name; no secret.
        expires_at: Seconds since the epoch; 0 is never.
    """

    secret: str = field(repr=False)
    id: str = ""
    expires_at: float = 0.0

    def is_expired(self, now: float) -> bool:
        """Tell whether its time is over, at ``now`` seconds since the epoch."""
        return 0 < self.expires_at <= now


def key_digest(key: str) -> bytes:
    """Return the SHA-256 digest by which keys are compared."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def validate_key_name(text: str) -> str:
    """Return a name that a key may have; else UsageError."""
    if _NAME.fullmatch(text) and text not in (OWNER, ANONYMOUS):
        return text
    shown = "A token" if looks_like_token(text) else repr(text)
    raise UsageError(
        f"{shown} cannot be the name of a key.",
        f"Use up to 40 letters, digits or one of _ . -, and not {OWNER!r}.",
    )
