"""Authentication, and that its timing reveals nothing about other keys."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from spicy_avocado_magic.config.api_keys import ANONYMOUS, OWNER, ApiKey
from spicy_avocado_magic.gateway.authentication import Caller, KeyStore, RateLimiter
from spicy_avocado_magic.gateway.error_responses import ErrorResponse
from spicy_avocado_magic.system.redaction import Secret

from .conftest import KEY

ANA = ApiKey(
    name="ana",
    secret="anas-key-0123456789",
    rpm=3,
    tokens=100,
    models=("tiny",),
    manage=True,
)
BO = ApiKey(name="bo", secret="bos-key-01234567890")


def keyring(*named: ApiKey, manage: bool = True) -> KeyStore:
    """Return the owner's key and others."""
    return KeyStore(Secret(KEY), named, manage=manage)


def refused(ring: KeyStore, *keys: str) -> ErrorResponse:
    """Return how these keys are refused."""
    with pytest.raises(ErrorResponse) as caught:
        ring.authenticate(keys)
    return caught.value


def test_each_key_is_its_holders() -> None:
    """A caller is known by name, with the bounds that were given with the key."""
    ring = keyring(ANA, BO)
    assert ring.authenticate((KEY,)).name == OWNER, "the owner was not recognised"
    ana = ring.authenticate((ANA.secret,))
    assert (ana.name, ana.rpm, ana.tokens, ana.models) == ("ana", 3, 100, ("tiny",))
    assert ring.authenticate((BO.secret, BO.secret)).name == "bo", (
        "the same key sent twice"
    )


def test_only_keys_made_for_it_manage_and_only_where_it_is_possible() -> None:
    """``--manage`` of the host and of the key must both be there."""
    ring = keyring(ANA, BO)
    assert ring.authenticate((KEY,)).manage, "the owner may not"
    assert ring.authenticate((ANA.secret,)).manage, "a key made with --manage may not"
    assert not ring.authenticate((BO.secret,)).manage, "any key may"
    closed = keyring(ANA, manage=False)
    for key in (KEY, ANA.secret):
        assert not closed.authenticate((key,)).manage, "without --manage somebody may"


@pytest.mark.parametrize(
    "keys",
    [
        (),
        ("",),
        ("wrong",),
        (KEY[:-1],),
        (KEY + "x",),
        (KEY.upper(),),
        (f" {KEY}",),
        (f"{KEY}\x00",),
        (hashlib.sha256(KEY.encode()).hexdigest(),),
        ("\udcff",),
        (KEY, "wrong"),
        ("wrong", KEY),
        (KEY, ""),
        (KEY, BO.secret),
        (ANA.secret, BO.secret),
    ],
)
def test_any_other_key_or_pair_of_keys_is_refused(keys: Sequence[str]) -> None:
    """All keys that a request has must be one caller's."""
    refusal = refused(keyring(ANA, BO), *keys)
    assert (refusal.status, refusal.code) == (401, "invalid_api_key")
    assert refusal.headers["WWW-Authenticate"] == "Bearer", "the scheme is missing"
    assert KEY not in refusal.message, "the key is in the response"


def test_wrong_and_missing_keys_differ_only_in_the_message() -> None:
    """The status says nothing of which it was."""
    ring = keyring()
    assert "is needed" in refused(ring).message
    assert "is wrong" in refused(ring, "x").message


def test_a_key_that_has_expired_is_wrong() -> None:
    """To the second; 0 is never."""
    now = time.time()
    ring = keyring(replace(ANA, expires_at=now - 1), replace(BO, expires_at=now + 60))
    assert refused(ring, ANA.secret).status == 401
    assert "has expired" in refused(ring, ANA.secret).message
    for other in ("wrong", BO.secret):
        message = refused(ring, ANA.secret, other).message
        assert "expired" not in message, "beside another key it has the same message"
    assert ring.authenticate((BO.secret,)).name == "bo", "a key expired before its time"


def test_without_a_key_everybody_is_anybody() -> None:
    """``--no-auth``: no key is looked at, and nobody may manage."""
    ring = KeyStore(None, (), manage=True)
    assert ring.is_open, "the door is not open"
    assert ring.authenticate(("whatever",)) == Caller(name=ANONYMOUS)
    assert not keyring().is_open, "the door is open"


def test_a_revoked_key_is_no_longer_had() -> None:
    """By content, not by name: a new key under an old name is another one."""
    ana = keyring(ANA).authenticate((ANA.secret,))
    assert keyring(ANA).is_valid(ana), "a key that is still there is not had"
    assert not keyring(BO).is_valid(ana), "a revoked key is had"
    renewed = replace(ANA, secret="another-key-0123456")
    assert not keyring(renewed).is_valid(ana), "an old key is had under its old name"
    assert not keyring(replace(ANA, expires_at=1)).is_valid(ana), (
        "an expired key is had"
    )
    owner = keyring().authenticate((KEY,))
    assert KeyStore(Secret("another-key-0123456"), (), manage=False).is_valid(owner)
    assert KeyStore(None, (), manage=False).is_valid(Caller(name=ANONYMOUS))


@pytest.mark.parametrize(
    "keys",
    [(), ("",), ("x" * 10_000,), *((KEY[:n],) for n in range(0, len(KEY) + 1, 4))],
    ids=lambda keys: f"{len(keys)} keys of {sum(map(len, keys))}",
)
def test_every_guess_is_compared_with_every_key_at_full_length(
    keys: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing, wrong, nearly right and right: always the same comparisons.

    Digests of one length, each against each in constant time: neither how much of a
    guess is right, nor its owner, nor its length can show in the time.
    """
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def watching(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", watching)
    ring = keyring(ANA, BO)
    try:
        ring.authenticate(keys)
    except ErrorResponse:
        assert keys != (KEY,), "the right key was refused"
    else:
        assert keys == (KEY,), "a wrong key was let in"
    assert compared == [(32, 32)] * 3, "the work depends on the guess"


class Clock:
    """Time that a test turns on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_a_caller_may_send_its_number_in_any_minute() -> None:
    """The next one is allowed a minute after the first, and the wait is sent."""
    clock = Clock()
    rates = RateLimiter(clock)
    for _ in range(2):
        rates.check("ana", 2)
        clock.now += 10
    with pytest.raises(ErrorResponse) as caught:
        rates.check("ana", 2)
    assert caught.value.status == 429
    assert caught.value.headers["Retry-After"] == "41", "not when a place is free"
    assert caught.value.code == "rate_limit_exceeded"
    clock.now += 40
    rates.check("ana", 2)
    with pytest.raises(ErrorResponse):
        rates.check("ana", 2)


def test_callers_do_not_use_up_each_others_requests() -> None:
    """Each is counted for itself; without a bound nobody is."""
    rates = RateLimiter(Clock())
    rates.check("ana", 1)
    rates.check("bo", 1)
    with pytest.raises(ErrorResponse):
        rates.check("bo", 1)
    rates.check("owner", 5)
    for _ in range(9):
        rates.check("owner", 0)
    assert "owner" not in rates.tracked, "who has no bound is remembered"


def test_a_bound_that_is_lowered_holds_at_once() -> None:
    """What was sent before counts, as far as it fits."""
    clock = Clock()
    rates = RateLimiter(clock)
    for _ in range(3):
        rates.check("ana", 10)
        clock.now += 10
    with pytest.raises(ErrorResponse) as caught:
        rates.check("ana", 2)
    # Of the requests at 0, 10 and 20 seconds the last two count; it is 30 now.
    assert caught.value.headers["Retry-After"] == "41", "the wrong ones are counted"
    rates.check("ana", 3)


def test_a_key_is_its_own_under_its_own_name_only() -> None:
    """The same secret under another name does not keep a revoked one alive."""
    ana = keyring(ANA).authenticate((ANA.secret,))
    assert not keyring(replace(ANA, name="bo")).is_valid(ana), "another name will do"
