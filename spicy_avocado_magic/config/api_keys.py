"""Named keys: given to other people, each within bounds of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from ..config.credentials import looks_like_token
from ..errors import UsageError

OWNER: Final = "owner"
"""Stands for the owner's key wherever use is told by key."""
ANONYMOUS: Final = "anybody"
"""Stands for every caller under ``--no-auth``."""
MAX_NAMED_KEYS: Final = 100
"""Each request is compared with every key, so that time tells nothing."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key that the owner gave to somebody else.

    Attributes:
        name: By which it is listed and revoked.
        secret: What its holder sends.
        id: Tells it from another key of the same name; no secret.
        rpm: Requests a minute; 0 is the bound that holds for everybody.
        tokens: In and out, over the key's lifetime; 0 is without bound.
        models: The only ones it may use; empty is all that are served.
        expires_at: Seconds since the epoch; 0 is never.
        manage: Whether it may install, copy and delete models, where the owner may.
    """

    name: str
    secret: str = field(repr=False)
    id: str = ""
    rpm: int = 0
    tokens: int = 0
    models: tuple[str, ...] = ()
    expires_at: float = 0.0
    manage: bool = False

    def is_expired(self, now: float) -> bool:
        """Tell whether its time is over, at ``now`` seconds since the epoch."""
        return 0 < self.expires_at <= now


def validate_key_name(text: str) -> str:
    """Return a name that a key may have; else UsageError."""
    if _NAME.fullmatch(text) and text not in (OWNER, ANONYMOUS):
        return text
    shown = "A token" if looks_like_token(text) else repr(text)
    raise UsageError(
        f"{shown} cannot be the name of a key.",
        f"Use up to 40 letters, digits or one of _ . -, and not {OWNER!r}.",
    )
