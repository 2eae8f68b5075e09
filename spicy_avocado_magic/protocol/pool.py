"""Mutual authentication of the members of a pool, and proofs for the public probe.

A pool is several notebooks behind one URL with the same API key. A member answers a
probe only if the probe itself has a valid proof, so outsiders get nothing to test key
guesses against. Proofs use a secret that is slow to derive, so the tunnel's provider,
which sees them, needs as long for each guess.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from ..errors import UsageError
from .state import PoolMember

POOL_HEADER: Final = "X-Avocado-Pool"
"""Request header of a probe: signed info about the member that sends it."""
MEMBER_HEADER: Final = "X-Avocado-Member"
"""Response header: the id of the member that answers."""

POOL_KEY_CHARACTERS: Final = 20
"""Shortest key under ``--pool``, where an observer of probes can guess offline."""

_SCRYPT: Final = {"n": 2**15, "r": 8, "p": 1, "maxmem": 2**26, "dklen": 32}
"""32 MiB and at least 0.1 s for each guess; ``maxmem`` is twice the need."""
_MEMBER_BYTES: Final = 6


def require_for_pool(domain: str, own_key: str) -> None:
    """Check the settings that ``--pool`` needs: a domain and a shared, long key.

    Args:
        domain: The domain of all members; empty if none was given.
        own_key: The key that the user gave; empty if there is none or it is generated.

    Raises:
        UsageError: If one is missing or the key is too short.
    """
    if not domain:
        raise UsageError(
            "--pool needs --domain: it puts several notebooks behind one domain.",
            "Add --domain with one of your domains, the same in each notebook.",
        )
    if not own_key:
        raise UsageError(
            "--pool needs an API key that you choose: the notebooks authenticate each "
            "other with it.",
            "Add --api-key $NAME, the same in each notebook, without --no-auth.",
        )
    if len(own_key) < POOL_KEY_CHARACTERS:
        raise UsageError(
            "The --api-key is too short for --pool: a short key could be found by "
            "trial.",
            f"Use {POOL_KEY_CHARACTERS} random characters or more in each notebook "
            "(python: secrets.token_urlsafe()).",
        )


def derive_secret(key: str, domain: str) -> bytes:
    """Return the secret that all members of a pool share; slow by design.

    Args:
        key: The owner's key, the same for all members.
        domain: The pool's domain; the same key gives another secret for another one.
    """
    salt = f"spicy-avocado pool {domain}".encode()
    return hashlib.scrypt(key.encode(), salt=salt, **_SCRYPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberInfo:
    """A member's id and the models that it serves."""

    member: str
    models: tuple[str, ...] = ()


Role = Literal["ask", "answer"]


def sign_member_info(secret: bytes, role: Role, nonce: str, info: MemberInfo) -> str:
    """Return a member's info as a signed header value."""
    payload = json.dumps([info.member, *info.models]).encode()
    text = base64.urlsafe_b64encode(payload).decode()
    return f"{text}.{_mac(secret, role, nonce, text)}"


def verify_member_info(
    secret: bytes, role: Role, nonce: str, header: str
) -> MemberInfo | None:
    """Return the info in a header value, or None if its signature is invalid.

    The signature is valid only for this role and nonce.
    """
    text, _, mac = header.rpartition(".")
    expected = _mac(secret, role, nonce, text)
    if not hmac.compare_digest(mac.encode(errors="replace"), expected.encode()):
        return None
    member, *models = json.loads(base64.urlsafe_b64decode(text))
    return MemberInfo(member=member, models=tuple(models))


def _mac(secret: bytes, role: Role, nonce: str, text: str) -> str:
    message = f"{role}\n{nonce}\n{text}".encode(errors="replace")
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


class Pool:
    """One member of a pool, with a record of the other members.

    Attributes:
        member: Its own id, new with each daemon.
    """

    def __init__(
        self, secret: bytes, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.member = secrets.token_hex(_MEMBER_BYTES)
        self._secret, self._clock = secret, clock
        self._seen: dict[str, tuple[MemberInfo, float]] = {}

    def ask(self, nonce: str, models: Sequence[str]) -> str:
        """Return the ``POOL_HEADER`` of a probe from this member."""
        return sign_member_info(self._secret, "ask", nonce, self._own_info(models))

    def answer(self, nonce: str, asked: str, models: Sequence[str]) -> str | None:
        """Return the proof for a probe, or None if no member sent it."""
        info = verify_member_info(self._secret, "ask", nonce, asked)
        if info is None:
            return None
        if info.member != self.member:
            self._record(info)
        return sign_member_info(self._secret, "answer", nonce, self._own_info(models))

    def verify_answer(self, nonce: str, answered: str) -> MemberInfo | None:
        """Return the member that answered our probe, or None if none did."""
        info = verify_member_info(self._secret, "answer", nonce, answered)
        if info is not None:
            self._record(info)
        return info

    def members(
        self, models: Sequence[str], *, within_s: float, reached: float | None = None
    ) -> tuple[PoolMember, ...]:
        """Return this member, then the others, the most recently seen first.

        Args:
            models: Models that this member serves.
            within_s: Others last seen more than this many seconds ago are left out.
            reached: Time of the last request through the URL, by ``clock``.
        """
        now = self._clock()
        seen = [at for info, at in self._seen.values() if info.member == self.member]
        seen += [] if reached is None else [reached]
        own = PoolMember(
            id=self.member,
            models=tuple(models),
            seen_s=now - max(seen) if seen else None,
            is_self=True,
        )
        others = (
            PoolMember(id=info.member, models=info.models, seen_s=now - at)
            for info, at in self._seen.values()
            if info.member != self.member and now - at <= within_s
        )
        return own, *sorted(others, key=lambda member: member.seen_s or 0)

    def _own_info(self, models: Sequence[str]) -> MemberInfo:
        return MemberInfo(member=self.member, models=tuple(models))

    def _record(self, info: MemberInfo) -> None:
        self._seen[info.member] = (info, self._clock())


PROBE_HEADER: Final = "X-Avocado-Probe"
"""Request header of a probe: a fresh random nonce."""
PROOF_HEADER: Final = "X-Avocado-Proof"
"""Response header: the proof that the gateway has the probe secret."""


def gateway_proof(secret: bytes, nonce: str) -> str:
    """Return the proof for a nonce: its HMAC-SHA256 with the secret, in hex."""
    return hmac.new(secret, nonce.encode(), hashlib.sha256).hexdigest()
