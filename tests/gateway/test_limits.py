"""The bounds of what a caller may make the gateway hold."""

from __future__ import annotations

import asyncio
import io
import json
import time
from typing import Any

import anthropic
import openai
import pytest
from aiohttp import web

from spicy_avocado_magic.config.api_keys import ApiKey
from tests.machine_speed import scaled

from .conftest import KEY, WITH_KEY, Engine, Front, Open, bounds, exchange, until


@pytest.mark.parametrize(
    "framing", ["Content-Length: 2000", "Transfer-Encoding: chunked"]
)
async def test_a_body_beyond_the_cap_is_refused(
    open_gateway: Open, engine: Engine, framing: str
) -> None:
    """413 in the caller's dialect, and nothing reaches the engine."""
    front = await open_gateway(limits=bounds(body_bytes=1000))
    body = b'{"model":"tiny","prompt":"' + b"x" * 1972 + b'"}'
    if "chunked" in framing:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    head = (
        f"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
        f"Connection: close\r\n{framing}\r\n\r\n"
    )
    answer = await exchange(front.port, head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 413 "), answer
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert error["type"] == "request_too_large"
    assert not engine.seen, "a body beyond the cap went on"


async def test_a_body_that_is_announced_beyond_the_cap_is_not_read(
    open_gateway: Open,
) -> None:
    """413 comes before the first byte of it."""
    front = await open_gateway(limits=bounds(body_bytes=1000))
    head = (
        f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
        "Content-Length: 1001\r\n\r\n"
    )
    answer = await exchange(front.port, head.encode(), until=b"}")
    assert answer.startswith(b"HTTP/1.1 413 "), answer


async def test_a_caller_may_send_to_its_end_what_was_refused(
    open_gateway: Open,
) -> None:
    """Cut off meanwhile, some clients report a broken pipe instead of the 413."""
    front = await open_gateway(limits=bounds(body_bytes=1000))
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(_large(KEY))
    async with asyncio.timeout(scaled(5)):
        assert b" 413 " in await reader.readuntil(b"}")
    cut = asyncio.create_task(reader.read(1))
    assert not (await asyncio.wait([cut], timeout=0.8))[0], "it was cut off"
    writer.write(b"x" * 2000 + b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(scaled(5)):
        assert await cut + await reader.readuntil(b" ") == b"HTTP/1.1 "
        assert await reader.readuntil(b" ") == b"200 ", "the next one is not served"
    writer.close()


async def test_an_unauthenticated_client_may_not_send_a_refused_body_for_long(
    open_gateway: Open,
) -> None:
    """A moment, to hear the answer: more would only use up the month's bytes."""
    front = await open_gateway()
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(_large("wrong-key-0123456789"))
    async with asyncio.timeout(scaled(5)):
        assert b" 401 " in await reader.readuntil(b"}")
        cut = asyncio.create_task(reader.read(1))
        assert not (await asyncio.wait([cut], timeout=0.2))[0], "it had no moment"
        assert await cut == b"", "it was not cut off"
    writer.close()


def _large(key: str) -> bytes:
    return (
        f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: {key}\r\n"
        "Content-Length: 2000\r\n\r\n"
    ).encode()


async def test_a_body_up_to_the_cap_is_taken(open_gateway: Open) -> None:
    """The cap itself is still allowed."""
    body = b'{"model":"tiny"}'
    front = await open_gateway(limits=bounds(body_bytes=len(body)))
    status, _, _ = await front.call("POST", "/api/chat", data=body, headers=WITH_KEY)
    assert status == 200


async def test_a_refused_body_is_not_waited_for(open_gateway: Open) -> None:
    """Who sends no more of a refused body loses the connection soon."""
    front = await open_gateway(limits=bounds())
    head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n"
    started = time.monotonic()
    answer = await exchange(front.port, head)
    assert answer.startswith(b"HTTP/1.1 401 "), answer
    assert time.monotonic() - started < scaled(1), (
        "an unauthenticated client keeps a connection open"
    )


@pytest.mark.parametrize("rest", [b"", b"zz\r\n"], ids=["silence", "broken framing"])
async def test_a_body_that_stalls_is_given_up(
    open_gateway: Open, engine: Engine, rest: bytes
) -> None:
    """Neither silence nor a chunk that is none holds a request for ever."""
    front = await open_gateway(limits=bounds(body_wait_s=0.1))
    head = (
        f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
        "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(head.encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.write(rest)
    async with asyncio.timeout(scaled(2)):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert not engine.seen, "half a body went on"


async def test_a_large_body_arrives_whole(open_gateway: Open, engine: Engine) -> None:
    """Images make bodies of many megabytes; they are written in pieces."""
    front = await open_gateway()
    sent = {"model": "tiny", "images": ["a" * 3 * 2**20]}
    body = io.BytesIO(json.dumps(sent).encode())
    status, _, _ = await front.call("POST", "/api/chat", data=body, headers=WITH_KEY)
    assert status == 200
    assert json.loads(engine.seen[0].body) == sent, "it differs"
    assert front.gateway.queue.reserved_bytes == 0, "its memory is still counted"


async def test_what_a_body_becomes_is_counted_too(open_gateway: Open) -> None:
    """Half a surrogate pair makes escapes of all that is not ASCII: three times it."""
    body = '{"model":"tiny","x":"\\ud800' + "\u00e9" * 1000 + '"}'
    front = await open_gateway(limits=bounds(bodies_bytes=4000))
    status, _, _ = await front.call(
        "POST", "/api/chat", data=body.encode(), headers=WITH_KEY
    )
    assert status == 429, "three times the memory was taken"


class _Gate:
    """An engine that answers nobody before it is opened."""

    def __init__(self) -> None:
        self.is_open = asyncio.Event()

    async def __call__(self, request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        """Wait, then reply."""
        await self.is_open.wait()
        return web.json_response({"done": True})


async def _chat(front: Front, key: str = KEY) -> tuple[int, str, bytes]:
    status, reply, body = await front.call(
        "POST",
        "/v1/chat/completions",
        data=b'{"model":"tiny"}',
        headers={"x-api-key": key},
    )
    return status, reply.headers.get("Retry-After", ""), body


async def test_requests_queue_for_a_slot_and_one_beyond_the_queue_is_429(
    open_gateway: Open, engine: Engine
) -> None:
    """The engine gets so many at a time; the queue is bounded, and moves."""
    gate = engine.reply = _Gate()
    front = await open_gateway(limits=bounds(concurrent=2, queue=1))
    places = front.gateway.queue
    asked = [asyncio.create_task(_chat(front)) for _ in range(3)]
    await until(lambda: (places.active, places.queued) == (2, 1))
    await until(lambda: len(engine.seen) == 2)
    status, retry_after, body = await _chat(front)
    assert (status, retry_after) == (429, "5")
    assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"
    assert len(engine.seen) == 2, "the engine got more than it has places"
    gate.is_open.set()
    assert [(await waiter)[0] for waiter in asked] == [200, 200, 200]
    assert (places.active, places.queued) == (0, 0), "a place was lost"


async def test_who_waits_in_vain_or_leaves_gives_up_the_queue(
    open_gateway: Open, engine: Engine
) -> None:
    """A place in the queue is not for ever, and not for those who went."""
    engine.reply = _Gate()
    front = await open_gateway(limits=bounds(concurrent=1, queue=2, queue_wait_s=0.3))
    places = front.gateway.queue
    first = asyncio.create_task(_chat(front))
    await until(lambda: places.active)
    left = asyncio.create_task(_chat(front))
    await until(lambda: places.queued)
    left.cancel()
    await until(lambda: not places.queued)
    assert (await _chat(front))[0] == 429
    assert places.queued == 0, "a refused request is still in the queue"
    first.cancel()
    await until(lambda: not places.active)


async def test_bodies_take_so_much_memory_together(
    open_gateway: Open, engine: Engine
) -> None:
    """Too many large requests at a time are 429."""
    gate = engine.reply = _Gate()
    front = await open_gateway(limits=bounds(bodies_bytes=100))
    large = {"model": "tiny", "prompt": "x" * 50}
    first = asyncio.create_task(
        front.call("POST", "/api/chat", json=large, headers=WITH_KEY)
    )
    await until(lambda: front.gateway.queue.active)
    status, reply, _ = await front.call(
        "POST", "/api/chat", json=large, headers=WITH_KEY
    )
    assert (status, reply.headers["Retry-After"]) == (429, "5")
    gate.is_open.set()
    assert (await first)[0] == 200
    assert front.gateway.queue.reserved_bytes == 0, "memory is still accounted for"
    status, _, _ = await front.call("POST", "/api/chat", json=large, headers=WITH_KEY)
    assert status == 200


async def test_a_key_has_so_many_requests_a_minute(open_gateway: Open) -> None:
    """Its own bound, or else the one for everybody; other keys do not suffer."""
    ann = ApiKey(name="ann", secret="anns-key-0123456789", rpm=1)
    bob = ApiKey(name="bob", secret="bobs-key-0123456789")
    front = await open_gateway(limits=bounds(rpm=2), named=(ann, bob))
    assert [(await _chat(front, ann.secret))[0] for _ in range(2)] == [200, 429]
    assert [(await _chat(front, bob.secret))[0] for _ in range(3)] == [200, 200, 429]
    _, retry_after, body = await _chat(front, ann.secret)
    assert 50 <= int(retry_after) <= 61
    assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"
    assert (await _chat(front))[0] == 200, "the owner pays for others"


async def test_a_key_has_so_many_tokens(open_gateway: Open, engine: Engine) -> None:
    """Once they are used it gets 429, and other keys go on."""
    ann = ApiKey(name="ann", secret="anns-key-0123456789", tokens=5)

    async def says(request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        return web.json_response(
            {"usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}
        )

    engine.reply = says
    front = await open_gateway(named=(ann,))
    assert (await _chat(front, ann.secret))[0] == 200
    status, _, body = await _chat(front, ann.secret)
    assert status == 429, body
    assert json.loads(body)["error"]["code"] == "insufficient_quota"
    assert len(engine.seen) == 1, "the engine worked for a key that is used up"
    assert (await _chat(front))[0] == 200


async def test_a_stock_client_asks_once_with_a_key_that_is_used_up(
    open_gateway: Open, engine: Engine
) -> None:
    """Left to itself it would retry a 429, which brings no token back."""
    ann = ApiKey(name="ann", secret="anns-key-0123456789", tokens=1)

    async def says(request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        return web.json_response({"usage": {"prompt_tokens": 1, "total_tokens": 1}})

    engine.reply = says
    front = await open_gateway(named=(ann,))
    assert (await _chat(front, ann.secret))[0] == 200
    asked: Any = {"model": "tiny", "messages": []}
    async with openai.AsyncOpenAI(
        base_url=f"{front.url}/v1", api_key=ann.secret
    ) as client:
        with pytest.raises(openai.RateLimitError, match="used all of its 1 tokens"):
            await client.chat.completions.create(**asked)
    async with anthropic.AsyncAnthropic(
        base_url=front.url, api_key=ann.secret
    ) as client2:
        with pytest.raises(anthropic.RateLimitError, match="used all of its 1 tokens"):
            await client2.messages.create(max_tokens=1, **asked)
    assert len(front.lines) == 3, "a client has tried again"


async def test_a_stream_ends_when_its_key_is_used_up(
    open_gateway: Open, engine: Engine
) -> None:
    """An endless answer does not cost more than the key may cost."""
    ann = ApiKey(name="ann", secret="anns-key-0123456789", tokens=5)

    async def endless(request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        while True:
            line = {"message": {"role": "assistant", "content": "x"}, "done": False}
            await response.write(json.dumps(line).encode() + b"\n")
            await asyncio.sleep(0.001)

    engine.reply = endless
    front = await open_gateway(named=(ann,))
    sent = (
        "POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: "
        f"{ann.secret}\r\nContent-Length: 16\r\n\r\n" + '{"model":"tiny"}'
    )
    answer = await exchange(front.port, sent.encode())
    assert b"used all of its tokens" in answer
    assert not answer.endswith(b"0\r\n\r\n"), "the cut stream looks complete"
    assert answer.count(b'"content"') < 50, "it went on for long"
    async with asyncio.timeout(scaled(1)):
        await engine.left.wait()


async def test_new_bounds_hold_at_once(open_gateway: Open) -> None:
    """No restart is needed to close a door."""
    front = await open_gateway()
    assert (await _chat(front))[0] == 200
    front.gateway.limits = bounds(body_bytes=5)
    assert (await _chat(front))[0] == 413


@pytest.mark.parametrize("framing", ["length", "chunks", "announced"])
async def test_the_memory_of_all_bodies_is_bounded(
    open_gateway: Open, engine: Engine, framing: str
) -> None:
    """However a body is framed, and before it arrives if its length is declared."""
    front = await open_gateway(limits=bounds(bodies_bytes=100))
    body = b'{"model":"tiny","prompt":"' + b"x" * 200 + b'"}'
    head = f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
    sent = {
        "length": b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
        "chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(body), body),
        "announced": b"Content-Length: %d\r\n\r\n" % len(body),
    }[framing]
    answer = await exchange(front.port, head.encode() + sent, until=b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 429 "), answer
    assert b"Retry-After" in answer, "there is no Retry-After"
    assert not engine.seen, "a body beyond the bound went on"
    assert front.gateway.queue.reserved_bytes == 0, "its memory is still counted"
