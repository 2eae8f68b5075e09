"""Named API keys for other people, each with limits of its own."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

from ..errors import UsageError
from ..protocol.usage import KeyLimits
from .credentials import looks_like_token

OWNER: Final = "owner"
"""Name of the owner's key wherever usage is listed by key."""
ANONYMOUS: Final = "anybody"
"""Name of every client under ``--no-auth``."""
MAX_NAMED_KEYS: Final = 100
"""Each request is compared with every key, in constant time."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey(KeyLimits):
    """A named API key.

    Attributes:
        secret: What its holder sends.
        id: Differs from that of an earlier key of the same name; no secret.
        expires_at: Seconds since the epoch; 0 is never.
    """

    secret: str = field(repr=False)
    id: str = ""
    expires_at: float = 0.0

    def is_expired(self, now: float) -> bool:
        """Return whether it has expired at ``now``, in seconds since the epoch."""
        return 0 < self.expires_at <= now


def key_digest(key: str) -> bytes:
    """Return the SHA-256 digest by which keys are compared."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def validate_key_name(text: str) -> str:
    """Return a valid name of a key.

    Raises:
        UsageError: If the characters are not allowed, or the name is reserved.
    """
    if _NAME.fullmatch(text) and text not in (OWNER, ANONYMOUS):
        return text
    shown = "A token" if looks_like_token(text) else repr(text)
    raise UsageError(
        f"{shown} cannot be the name of a key.",
        f"Use up to 40 letters, digits or one of _ . -, and not {OWNER!r}.",
    )
