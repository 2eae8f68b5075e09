"""Whose key a request carries, found in the same time for right and wrong ones."""

from __future__ import annotations

import hmac
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ..config.api_keys import ANONYMOUS, OWNER, ApiKey, key_digest
from ..protocol.error_shapes import SEND_KEY_HINT
from ..protocol.usage import KeyLimits, shared_fields
from ..system.redaction import Secret
from .error_responses import ErrorResponse

_MINUTE_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller(KeyLimits):
    """The holder of an API key.

    Attributes:
        expires_at: Seconds since the epoch; 0 is never.
        digest: Of the key, so that a new key under an old name is another caller.
    """

    expires_at: float = 0.0
    digest: bytes = b""

    def is_expired(self) -> bool:
        """Tell whether its time is over."""
        return 0 < self.expires_at <= time.time()


class KeyStore:
    """All keys, as digests: neither content nor length shows in the time."""

    def __init__(
        self, owner: Secret | None, named: Iterable[ApiKey], *, manage: bool
    ) -> None:
        """Take the keys.

        Args:
            owner: The owner's key; None lets anybody in.
            named: Those given to others.
            manage: Whether managing is possible at all.
        """
        self.is_open = owner is None
        self._callers: list[Caller] = []
        if owner is not None:
            digest = key_digest(owner.get_secret_value())
            self._callers.append(Caller(name=OWNER, manage=manage, digest=digest))
        for key in named:
            limits = shared_fields(key, KeyLimits) | {"manage": manage and key.manage}
            digest = key_digest(key.secret)
            self._callers.append(
                Caller(**limits, expires_at=key.expires_at, digest=digest)
            )

    def authenticate(self, keys: Sequence[str]) -> Caller:
        """Return whose keys these are: all that a request has must be one caller's.

        Raises:
            Refusal: 401, the same for wrong and for missing ones.
        """
        if self.is_open:
            return Caller(name=ANONYMOUS)
        found = {self._owner_of(key) for key in keys or ("",)}
        caller = found.pop()
        if found or caller is None or caller.is_expired():
            problem = "The API key is wrong." if keys else "An API key is needed."
            message = f"{problem} {SEND_KEY_HINT}"
            if caller is not None and not found:
                message = "This API key has expired; ask its owner for a new one."
            raise ErrorResponse(
                401,
                message,
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return caller

    def has(self, caller: Caller) -> bool:
        """Tell whether a caller of before is still let in.

        One with a named key is not once that very key has gone. The owner's own
        requests outlive a change of the owner's key.
        """
        if self.is_open or caller.name in (OWNER, ANONYMOUS):
            return True
        return any(
            hmac.compare_digest(one.digest, caller.digest) and not one.is_expired()
            for one in self._callers
            if one.name == caller.name
        )

    def _owner_of(self, key: str) -> Caller | None:
        digest, found = key_digest(key), None
        for caller in self._callers:
            if hmac.compare_digest(digest, caller.digest):
                found = caller
        return found


class RateLimiter:
    """Counts each caller's requests over the last minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: dict[str, deque[float]] = {}

    def check(self, name: str, rpm: int) -> None:
        """Count a request.

        Args:
            name: The caller's.
            rpm: The most within any minute; 0 is without bound.

        Raises:
            Refusal: 429, with the seconds until the next one is free.
        """
        if not rpm:
            self._times.pop(name, None)
            return
        now, times = self._clock(), self._times.setdefault(name, deque())
        while times and (times[0] <= now - _MINUTE_S or len(times) > rpm):
            times.popleft()
        if len(times) >= rpm:
            wait_s = int(times[0] + _MINUTE_S - now) + 1
            raise ErrorResponse(
                429,
                f"This key may send {rpm} requests a minute; "
                f"try again in {wait_s} seconds.",
                code="rate_limit_exceeded",
                headers={"Retry-After": str(wait_s)},
            )
        times.append(now)
