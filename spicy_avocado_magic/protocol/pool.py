"""A pool: several notebooks behind one URL, that know each other by their key.

Whoever asks for a proof must give one first, so that a stranger gets nothing to try
guesses against; and both are made with a secret that takes a while to derive, so that
who does see them (the tunnel's service) needs as long for every guess of the key.
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
"""Request header of a probe: the card of the member that asks."""
MEMBER_HEADER: Final = "X-Avocado-Member"
"""Response header: the id of the member that answers."""

POOL_KEY_CHARACTERS: Final = 20
"""Shortest key under ``--pool``, where who sees a probe can try guesses offline."""

_SCRYPT: Final = {"n": 2**15, "r": 8, "p": 1, "maxmem": 2**26, "dklen": 32}
"""32 MiB and a tenth of a second or more a guess, within a doubled bound of memory."""
_MEMBER_BYTES: Final = 6


def require_for_pool(domain: str, own_key: str) -> None:
    """Refuse what is no pool: it needs a domain, and a key that the others have too.

    Args:
        domain: What all members share; empty if none was named.
        own_key: The key that the user gave; empty if there is none or it was made.

    Raises:
        UsageError: With what is missing.
    """
    if not domain:
        raise UsageError(
            "--pool puts several notebooks behind one domain, and none is named.",
            "Add --domain with one of your domains, the same in each notebook.",
        )
    if not own_key:
        raise UsageError(
            "--pool needs a key of your own: members know each other by it.",
            "Add --api-key $NAME, the same in each notebook, without --no-auth.",
        )
    if len(own_key) < POOL_KEY_CHARACTERS:
        raise UsageError(
            "The --api-key is too short for --pool, where it must not be guessed.",
            f"Use {POOL_KEY_CHARACTERS} random characters or more in each notebook "
            "(python: secrets.token_urlsafe()).",
        )


def derive_secret(key: str, domain: str) -> bytes:
    """Return the secret that all members of a pool share; slow on purpose.

    Args:
        key: Of the owner, the same for all members.
        domain: Of the pool, so that the same key elsewhere gives another secret.
    """
    salt = f"spicy-avocado pool {domain}".encode()
    return hashlib.scrypt(key.encode(), salt=salt, **_SCRYPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberInfo:
    """What a member says of itself: its id, and the models that it serves."""

    member: str
    models: tuple[str, ...] = ()


Role = Literal["ask", "answer"]


def sign_member_info(secret: bytes, role: Role, nonce: str, card: MemberInfo) -> str:
    """Return a card as a header's value, with the proof of who wrote it."""
    plain = json.dumps([card.member, *card.models]).encode()
    text = base64.urlsafe_b64encode(plain).decode()
    return f"{text}.{_mac(secret, role, nonce, text)}"


def verify_member_info(
    secret: bytes, role: Role, nonce: str, sealed: str
) -> MemberInfo | None:
    """Return the card of a header's value; None unless a member made it for this."""
    text, _, mac = sealed.rpartition(".")
    right = _mac(secret, role, nonce, text)
    if not hmac.compare_digest(mac.encode(errors="replace"), right.encode()):
        return None
    member, *models = json.loads(base64.urlsafe_b64decode(text))
    return MemberInfo(member=member, models=tuple(models))


def _mac(secret: bytes, role: Role, nonce: str, text: str) -> str:
    said = f"{role}\n{nonce}\n{text}".encode(errors="replace")
    return hmac.new(secret, said, hashlib.sha256).hexdigest()


class Pool:
    """One member of a pool, and what it knows of the others.

    Attributes:
        member: Its own id, new with each host.
    """

    def __init__(
        self, secret: bytes, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.member = secrets.token_hex(_MEMBER_BYTES)
        self._secret, self._clock = secret, clock
        self._met: dict[str, tuple[MemberInfo, float]] = {}

    def ask(self, nonce: str, models: Sequence[str]) -> str:
        """Return what a probe of ours carries as ``POOL_HEADER``."""
        return sign_member_info(self._secret, "ask", nonce, self._card(models))

    def answer(self, nonce: str, asked: str, models: Sequence[str]) -> str | None:
        """Return the proof for a probe; None unless a member asks."""
        card = verify_member_info(self._secret, "ask", nonce, asked)
        if card is None:
            return None
        if card.member != self.member:
            self._meet(card)
        return sign_member_info(self._secret, "answer", nonce, self._card(models))

    def verify_answer(self, nonce: str, answered: str) -> MemberInfo | None:
        """Return who has answered our probe; None unless it is a member."""
        card = verify_member_info(self._secret, "answer", nonce, answered)
        if card is not None:
            self._meet(card)
        return card

    def members(
        self, models: Sequence[str], *, within_s: float, reached: float | None = None
    ) -> tuple[PoolMember, ...]:
        """Return ourselves, then the others, the last heard of first.

        Args:
            models: Those that we serve.
            within_s: Others not heard of for so many seconds are left out.
            reached: When a request last came to us by the URL, by our clock.
        """
        now = self._clock()
        seen = [at for card, at in self._met.values() if card.member == self.member]
        seen += [] if reached is None else [reached]
        own = PoolMember(
            id=self.member,
            models=tuple(models),
            seen_s=now - max(seen) if seen else None,
            is_self=True,
        )
        others = (
            PoolMember(id=card.member, models=card.models, seen_s=now - at)
            for card, at in self._met.values()
            if card.member != self.member and now - at <= within_s
        )
        return own, *sorted(others, key=lambda member: member.seen_s or 0)

    def _card(self, models: Sequence[str]) -> MemberInfo:
        return MemberInfo(member=self.member, models=tuple(models))

    def _meet(self, card: MemberInfo) -> None:
        self._met[card.member] = (card, self._clock())


PROBE_HEADER: Final = "X-Avocado-Probe"
"""Request header: a fresh nonce that nobody else has seen."""
PROOF_HEADER: Final = "X-Avocado-Proof"
"""Response header: what only the holder of the probe secret can answer."""


def gateway_proof(secret: bytes, nonce: str) -> str:
    """Return the answer to a nonce: HMAC-SHA256 under the secret, in hex."""
    return hmac.new(secret, nonce.encode(), hashlib.sha256).hexdigest()
