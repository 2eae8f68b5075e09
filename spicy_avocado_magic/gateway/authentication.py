"""Constant-time API-key authentication, and request limits for each key."""

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
    """Holder of an API key.

    Attributes:
        expires_at: Seconds since the epoch; 0 is never.
        digest: Of the key, so that a new key under an old name is another caller.
    """

    expires_at: float = 0.0
    digest: bytes = b""

    def is_expired(self) -> bool:
        """Return whether the key has expired."""
        return 0 < self.expires_at <= time.time()


class KeyStore:
    """Digests of all API keys; neither their content nor length shows in the timing."""

    def __init__(
        self, owner: Secret | None, named: Iterable[ApiKey], *, manage: bool
    ) -> None:
        """Digest the keys.

        Args:
            owner: The owner's key; None accepts every request.
            named: The keys of other people.
            manage: Whether any key may manage models.
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
        """Return the caller to whom all keys of a request belong.

        Raises:
            ErrorResponse: 401 for missing, wrong, expired and contradicting keys.
        """
        if self.is_open:
            return Caller(name=ANONYMOUS)
        found = {self._find(key) for key in keys or ("",)}
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

    def is_valid(self, caller: Caller) -> bool:
        """Return whether a request that was authenticated earlier may go on.

        A named key must still exist, be the same and not be expired. Requests of the
        owner outlive a change of the owner's key.
        """
        if self.is_open or caller.name in (OWNER, ANONYMOUS):
            return True
        return any(
            hmac.compare_digest(known.digest, caller.digest) and not known.is_expired()
            for known in self._callers
            if known.name == caller.name
        )

    def _find(self, key: str) -> Caller | None:
        digest, found = key_digest(key), None
        for caller in self._callers:
            if hmac.compare_digest(digest, caller.digest):
                found = caller
        return found


class RateLimiter:
    """Sliding-window limit of each key's requests over the last minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: dict[str, deque[float]] = {}

    @property
    def tracked(self) -> frozenset[str]:
        """Names of the keys with counted requests."""
        return frozenset(self._times)

    def check(self, name: str, rpm: int) -> None:
        """Count a request.

        Args:
            name: Of the key.
            rpm: Most requests within any minute; 0 is unlimited.

        Raises:
            ErrorResponse: 429, with the seconds until the next request is allowed.
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
