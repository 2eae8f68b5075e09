"""Keys that are taken back or expire while their requests are under way."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from aiohttp import web

from spicy_avocado_magic.config.api_keys import ApiKey
from spicy_avocado_magic.gateway.authentication import Caller
from spicy_avocado_magic.gateway.authorization import AccessPolicy
from spicy_avocado_magic.gateway.counters import Metrics
from tests.machine_speed import scaled

from .conftest import OWNER, Engine, Open, exchange
from .fake_requests import make_context

ANN = ApiKey(name="ann", secret="anns-key-0123456789")
BOB = ApiKey(name="bob", secret="bobs-key-0123456789")
CHAT = {"model": "tiny"}


def sharing(*named: ApiKey, **changes: Any) -> AccessPolicy:
    """Return access for the owner and these."""
    return replace(OWNER, named=named, **changes)


def header(key: ApiKey) -> dict[str, str]:
    """Return what its holder sends."""
    return {"x-api-key": key.secret}


async def _begin(front: Any, engine: Engine, key: ApiKey) -> asyncio.Task[bytes]:
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
    await asyncio.wait_for(engine.arrived.wait(), scaled(5))
    return task


async def test_a_key_that_is_taken_back_ends_what_waits_for_the_engine(
    open_gateway: Open, engine: Engine
) -> None:
    """With 401, at once; the engine's work ends too, and others' goes on."""
    front = await open_gateway(sharing(ANN, BOB))
    bobs = await _begin(front, engine, BOB)
    anns = await _begin(front, engine, ANN)
    front.gateway.access = sharing(BOB)
    received = await asyncio.wait_for(anns, scaled(1))
    assert received.startswith(b"HTTP/1.1 401"), received
    await asyncio.wait_for(engine.left.wait(), scaled(1))
    assert not bobs.done(), "another key's request was ended"
    assert front.gateway.metrics.in_flight == 1, "what was ended is still counted"
    bobs.cancel()


async def test_a_key_that_expires_ends_what_waits_for_the_engine(
    open_gateway: Open, engine: Engine
) -> None:
    """At that moment, without another request that would notice."""
    key = replace(ANN, expires_at=time.time() + 0.5)
    front = await open_gateway(sharing(key))
    received = await asyncio.wait_for(await _begin(front, engine, key), scaled(3))
    assert received.startswith(b"HTTP/1.1 401"), received
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
    async with asyncio.timeout(scaled(2)):
        received = await reader.readuntil(b"no longer valid")
    writer.close()
    assert received.startswith(b"HTTP/1.1 401"), received
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
    async with asyncio.timeout(scaled(5)):
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
    requests = [make_context(caller) for caller in (old, new)]
    for request in requests:
        request.model = "tiny"
        metrics.request_started(request)
        metrics.admitted(request)
        request.record_chunk(b'{"response":"x","done":false}\n')
    assert metrics.keys["ann"].requests == 1, "the new key inherits requests"
    metrics.request_finished(requests[0])
    assert metrics.keys["ann"].tokens_out == 0, "the new key pays for the old one"
    metrics.request_finished(requests[1])
    assert metrics.keys["ann"].tokens_out > 0
