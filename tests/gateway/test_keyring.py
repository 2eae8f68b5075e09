"""Named keys at the gate and in requests that are under way."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web

from spicy_avocado_magic.gateway.access import Access
from spicy_avocado_magic.gateway.exchange import Exchange
from spicy_avocado_magic.gateway.keyring import Caller, Keyring, RateLimiter
from spicy_avocado_magic.gateway.metrics import Metrics
from spicy_avocado_magic.gateway.refusal import Refusal
from spicy_avocado_magic.keys import NamedKey
from spicy_avocado_magic.secrets import Secret

from .conftest import KEY, OWNER, Engine, Open, exchange

ANN = NamedKey(name="ann", secret="anns-key-0123456789")
BOB = NamedKey(name="bob", secret="bobs-key-0123456789")
CHAT = {"model": "tiny"}


def found(ring: Keyring, *keys: str) -> str:
    """Return whose these keys are; ``401`` for nobody's."""
    try:
        return ring.find(keys).name
    except Refusal as refusal:
        return str(refusal.status)


def ring(*named: NamedKey, manage: bool = False) -> Keyring:
    """Return a keyring with the owner's key and these."""
    return Keyring(Secret(KEY), named, manage=manage)


def sharing(*named: NamedKey, **changes: Any) -> Access:
    """Return access for the owner and these."""
    return replace(OWNER, named=named, **changes)


def header(key: NamedKey) -> dict[str, str]:
    """Return what its holder sends."""
    return {"x-api-key": key.secret}


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ((KEY,), "owner"),
        ((ANN.secret,), "ann"),
        ((BOB.secret, BOB.secret), "bob"),
        ((ANN.secret, BOB.secret), "401"),
        ((KEY, ANN.secret), "401"),
        ((ANN.secret, "wrong"), "401"),
        (("wrong", ANN.secret), "401"),
        ((ANN.secret.upper(),), "401"),
        ((ANN.secret + " ",), "401"),
        (("",), "401"),
        ((), "401"),
    ],
)
def test_all_keys_of_a_request_must_be_one_callers(
    keys: Sequence[str], name: str
) -> None:
    """One right key among others opens nothing: which one counts would be a guess."""
    assert found(ring(ANN, BOB), *keys) == name


def test_every_key_is_compared_whichever_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Time tells neither whether a key is right nor how many there are before it."""
    compared: list[int] = []
    real = hmac.compare_digest

    def count(one: bytes, other: bytes) -> bool:
        compared[-1] += 1
        return bool(real(one, other))

    keys = ring(ANN, BOB)
    monkeypatch.setattr(hmac, "compare_digest", count)
    for asked in ((KEY,), (ANN.secret,), (BOB.secret,), ("wrong",), ()):
        compared.append(0)
        found(keys, *asked)
    assert compared == [3] * 5, "some are compared with fewer keys than others"


def test_an_expired_key_is_as_wrong_as_any(monkeypatch: pytest.MonkeyPatch) -> None:
    """It opened until then."""
    key = replace(ANN, expires_at=1000.0)
    keys = ring(key)
    monkeypatch.setattr(time, "time", lambda: 999.9)
    assert found(keys, ANN.secret) == "ann"
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    with pytest.raises(Refusal) as expired:
        keys.find((ANN.secret,))
    with pytest.raises(Refusal) as wrong:
        keys.find(("wrong",))
    assert vars(expired.value) == vars(wrong.value), "they can be told apart"


@pytest.mark.parametrize(
    ("is_on", "is_given", "may"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
def test_a_key_may_manage_where_both_say_so(
    is_on: bool, is_given: bool, may: bool
) -> None:
    """The service must be manageable, and the key made for it."""
    keys = ring(replace(ANN, manage=is_given), manage=is_on)
    assert keys.find((ANN.secret,)).may_manage is may


def test_a_caller_is_let_in_as_long_as_its_very_key_is() -> None:
    """Not with a key of the same name that was made later; the owner always."""
    keys = ring(ANN)
    ann, owner = keys.find((ANN.secret,)), keys.find((KEY,))
    assert ring(ANN, BOB).has(ann)
    assert not ring(BOB).has(ann), "a key that is gone still counts"
    assert not ring(replace(ANN, secret="another-0123456789")).has(ann)
    assert not ring(replace(ANN, expires_at=1.0)).has(ann), "an expired key counts"
    assert Keyring(Secret("another-key"), (), manage=False).has(owner)
    assert ring().has(Caller(name="anybody"))
    assert Keyring(None, (), manage=False).has(ann), "open to all but who had a key"


def test_the_limiter_counts_each_caller_by_itself_over_a_minute() -> None:
    """The one too many is told when the next is free."""
    now = 0.0
    limiter = RateLimiter(lambda: now)
    limiter.take("ann", 2)
    now = 10.0
    limiter.take("ann", 2)
    limiter.take("bob", 2)
    with pytest.raises(Refusal) as refused:
        limiter.take("ann", 2)
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "51")
    now = 60.0
    limiter.take("ann", 2)
    with pytest.raises(Refusal):
        limiter.take("ann", 2)


def test_refused_requests_do_not_put_off_the_next_one() -> None:
    """Who goes on trying waits no longer than who does not."""
    now = 0.0
    limiter = RateLimiter(lambda: now)
    limiter.take("ann", 1)
    for second in range(1, 60):
        now = float(second)
        with pytest.raises(Refusal):
            limiter.take("ann", 1)
    now = 60.0
    limiter.take("ann", 1)


def test_a_bound_that_changes_holds_at_once() -> None:
    """A lower one forgets no request, a higher one lets in more."""
    limiter = RateLimiter(lambda: 0.0)
    for _ in range(3):
        limiter.take("ann", 3)
    with pytest.raises(Refusal):
        limiter.take("ann", 1)
    limiter.take("ann", 0)
    limiter.take("ann", 1)


async def _begin(front: Any, engine: Engine, key: NamedKey) -> asyncio.Task[bytes]:
    """Send a request that the engine has received and does not answer."""
    engine.arrived.clear()

    async def forever(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    engine.reply = forever
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"x-api-key: {key.secret}\r\nContent-Type: application/json\r\n"
        'Content-Length: 17\r\n\r\n{"model": "tiny"}'
    )
    task = asyncio.create_task(
        exchange(front.port, head.encode(), until=b"invalid_api_key")
    )
    await asyncio.wait_for(engine.arrived.wait(), 5)
    return task


async def test_a_key_that_is_taken_back_ends_what_waits_for_the_engine(
    open_gateway: Open, engine: Engine
) -> None:
    """With 401, at once; the engine's work ends too, and others' goes on."""
    front = await open_gateway(sharing(ANN, BOB))
    bobs = await _begin(front, engine, BOB)
    anns = await _begin(front, engine, ANN)
    front.gateway.access = sharing(BOB)
    said = await asyncio.wait_for(anns, 1)
    assert said.startswith(b"HTTP/1.1 401"), said
    await asyncio.wait_for(engine.left.wait(), 1)
    assert not bobs.done(), "another key's request was ended"
    assert front.gateway.metrics.in_flight == 1, "what was ended is still counted"
    bobs.cancel()


async def test_a_key_that_expires_ends_what_waits_for_the_engine(
    open_gateway: Open, engine: Engine
) -> None:
    """At that moment, without another request that would notice."""
    key = replace(ANN, expires_at=time.time() + 0.5)
    front = await open_gateway(sharing(key))
    said = await asyncio.wait_for(await _begin(front, engine, key), 3)
    assert said.startswith(b"HTTP/1.1 401"), said
    assert time.time() >= key.expires_at, "it was ended before its time"


async def test_a_key_is_taken_back_while_its_request_sends_a_body(
    open_gateway: Open, engine: Engine
) -> None:
    """Nothing of that request reaches the engine."""
    front = await open_gateway(sharing(ANN))
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(
        b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\n"
        b"x-api-key: " + ANN.secret.encode() + b"\r\nExpect: 100-continue\r\n"
        b'Content-Length: 17\r\n\r\n{"model": '
    )
    assert b"100 Continue" in await reader.readuntil(b"\r\n\r\n")
    front.gateway.access = sharing()
    writer.write(b'"tiny"}')
    async with asyncio.timeout(2):
        said = await reader.readuntil(b"no longer good")
    writer.close()
    assert said.startswith(b"HTTP/1.1 401"), said
    assert engine.seen == [], "a request of a key that is gone reached the engine"


async def test_a_key_that_is_gone_opens_nothing_on_a_connection_that_is_open(
    open_gateway: Open,
) -> None:
    """Keep-alive is no way in."""
    front = await open_gateway(sharing(ANN))
    asked = (
        b"GET /api/tags HTTP/1.1\r\nHost: localhost\r\n"
        b"x-api-key: " + ANN.secret.encode() + b"\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    async with asyncio.timeout(5):
        writer.write(asked)
        first = await reader.readuntil(b"\r\n")
        front.gateway.access = sharing()
        writer.write(asked)
        rest = await reader.read()
    writer.close()
    assert b" 401 " not in first
    assert b"HTTP/1.1 401" in rest, rest


def test_a_request_is_charged_to_the_key_it_came_with() -> None:
    """Not to a new one of that name, however late the old one's request ends."""
    metrics = Metrics()
    old, new = (Caller(name="ann", digest=digest) for digest in (b"old", b"new"))
    requests = [Exchange(method="POST", caller=caller) for caller in (old, new)]
    for request in requests:
        request.model = "tiny"
        metrics.opened(request, cast("Any", SimpleNamespace(output_size=0)))
        metrics.admitted(request)
        request.heard(b'{"response":"x","done":false}\n')
    assert metrics.keys["ann"].requests == 1, "the new key inherits requests"
    metrics.closed(requests[0])
    assert metrics.keys["ann"].tokens_out == 0, "the new key pays for the old one"
    metrics.closed(requests[1])
    assert metrics.keys["ann"].tokens_out > 0
