"""Answers on their way: exact, at once, and never half of one as if whole."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

import aiohttp
import anthropic
import ollama
import openai
import pytest
from aiohttp import web

from spicy_avocado_magic.config.api_keys import ApiKey
from tests.machine_speed import scaled

from .conftest import KEY, OWNER, WITH_KEY, Engine, Front, Open, Reply, bounds, until

CHAT = b'{"model":"tiny"}'
ASK: Any = [{"role": "user", "content": "hi"}]
ASKED = (
    f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
    f"Content-Length: {len(CHAT)}\r\n\r\n"
).encode()
ANN = ApiKey(name="ann", secret="anns-key-0123456789")
LINE = json.dumps(
    {"model": "tiny", "message": {"role": "assistant", "content": "yes"}, "done": False}
)
DELTA = json.dumps(
    {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "tiny",
        "choices": [{"index": 0, "delta": {"content": "yes"}, "finish_reason": None}],
    }
)
BLOCK = json.dumps(
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "yes"},
    }
)
SSE = "text/event-stream"
NDJSON = "application/x-ndjson"


def starts(kind: str, text: str, go: asyncio.Event) -> Reply:
    """Return an engine that says this, waits for ``go``, then dies."""

    async def reply(request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        await response.write(text.encode())
        await go.wait()
        assert request.transport is not None
        request.transport.abort()
        return response

    return reply


async def test_status_head_and_body_of_the_engine_arrive_as_they_are(
    front: Front, engine: Engine
) -> None:
    """The engine's own errors and compressed bodies are not touched."""

    async def teapot(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        return web.Response(
            status=418,
            body=b"\x1f\x8b not really gzip",
            headers={"Content-Encoding": "gzip", "X-Inner": "1", "Server": "secret"},
        )

    engine.reply = teapot
    async with aiohttp.ClientSession(auto_decompress=False) as client:
        url = f"{front.url}/api/chat"
        async with client.post(url, data=CHAT, headers=WITH_KEY) as reply:
            assert (reply.status, await reply.read()) == (
                418,
                b"\x1f\x8b not really gzip",
            )
            assert reply.headers["X-Inner"] == "1"
            assert reply.headers["Server"] == "avocado"
            assert reply.headers["X-Accel-Buffering"] == "no"


@pytest.mark.parametrize("kind", ["application/x-ndjson", "text/event-stream"])
async def test_every_chunk_arrives_before_the_next_is_made(
    front: Front, engine: Engine, kind: str
) -> None:
    """No byte that can be read waits for another one."""
    go = asyncio.Semaphore(0)

    async def stepwise(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        for number in range(5):
            await go.acquire()
            await response.write(f"{number}\n".encode())
        return response

    engine.reply = stepwise
    url = f"{front.url}/api/chat"
    async with front.client.post(url, data=CHAT, headers=WITH_KEY) as reply:
        assert reply.headers["Content-Type"] == kind, "the head waited for a chunk"
        for number in range(5):
            go.release()
            async with asyncio.timeout(scaled(1)):
                chunk = await reply.content.readany()
            assert chunk == f"{number}\n".encode(), "a chunk was held back or changed"
        assert await reply.content.read() == b""


async def test_a_large_answer_is_exact(front: Front, engine: Engine) -> None:
    """Order and content of megabytes are what the engine sent."""
    whole = bytes(range(256)) * 2**13

    async def large(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for start in range(0, len(whole), 10_007):
            await response.write(whole[start : start + 10_007])
        return response

    engine.reply = large
    _, _, body = await front.call("POST", "/api/chat", data=CHAT, headers=WITH_KEY)
    assert body == whole, "bytes were lost, changed or reordered"
    assert front.gateway.metrics.bytes_out > len(whole), "they were not counted"


@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_client_that_leaves_ends_the_engines_work(
    front: Front, engine: Engine, *, has_begun: bool
) -> None:
    """Whether it waits for the first token or is mid-stream: the engine is freed."""

    async def slow(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        if has_begun:
            await response.prepare(request)
            await response.write(b"first\n")
        await asyncio.Event().wait()
        return response

    engine.reply = slow
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(ASKED + CHAT)
    await engine.arrived.wait()
    if has_begun:
        await reader.readuntil(b"first\n")
    assert front.gateway.metrics.in_flight == 1
    writer.close()
    async with asyncio.timeout(0.25):
        await engine.left.wait()
    assert front.gateway.metrics.in_flight == 0, "the request is still counted"
    assert json.loads(front.lines[-1])["status"] == 499


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_an_engine_that_dies_mid_stream_is_no_whole_answer(
    front: Front, engine: Engine, version: str
) -> None:
    """What was sent before arrives; then the connection breaks, visibly."""
    go = asyncio.Event()

    async def dies(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first\n")
        await go.wait()
        assert request.transport is not None
        request.transport.abort()
        return response

    engine.reply = dies
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(ASKED.replace(b"1.1", version.encode(), 1) + CHAT)
    head = await reader.readuntil(b"first\n")
    assert head.startswith(f"HTTP/{version} 200".encode())
    go.set()
    if version == "1.0":
        with pytest.raises(ConnectionResetError):
            await reader.read()
    else:
        rest = await reader.read()
        assert not rest.endswith(b"0\r\n\r\n"), "the cut stream looks complete"
    writer.close()


async def test_stock_clients_raise_when_a_stream_breaks_off(
    front: Front, engine: Engine
) -> None:
    """Each client gets the error in its own dialect, none takes half for the whole."""
    go = asyncio.Event()
    go.set()
    engine.reply = starts(SSE, f"data: {DELTA}\n\n", go)
    url = f"{front.url}/v1"
    async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="tiny", messages=ASK, stream=True
        )
        with pytest.raises(openai.APIError, match="broke off"):
            _ = [chunk async for chunk in stream]
    block = f"event: content_block_delta\ndata: {BLOCK}\n\n"
    engine.reply = starts(SSE, block, go)
    async with anthropic.AsyncAnthropic(
        base_url=front.url, api_key=KEY, max_retries=0
    ) as talker:
        events = await talker.messages.create(
            model="tiny", messages=ASK, max_tokens=5, stream=True
        )
        with pytest.raises(anthropic.APIError, match="broke off"):
            _ = [event async for event in events]
    engine.reply = starts(NDJSON, LINE + "\n", go)
    native = ollama.AsyncClient(host=front.url, headers=WITH_KEY)
    parts = await native.chat("tiny", ASK, stream=True)
    with pytest.raises(ollama.ResponseError, match="broke off"):
        _ = [part async for part in parts]
    await native._client.aclose()


async def test_a_stream_that_ends_in_order_in_the_middle_is_no_whole_answer(
    front: Front, engine: Engine
) -> None:
    """As Ollama ends one when what runs the model dies; stock clients raise."""

    async def half(request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": SSE})
        await response.prepare(request)
        await response.write(f"data: {DELTA}\n\n".encode())
        await go.wait()
        await response.write_eof()
        return response

    go = asyncio.Event()
    engine.reply = half
    async with openai.AsyncOpenAI(
        base_url=f"{front.url}/v1", api_key=KEY, max_retries=0
    ) as client:
        stream = await client.chat.completions.create(
            model="tiny", messages=ASK, stream=True
        )
        go.set()
        with pytest.raises(openai.APIError, match="broke off"):
            _ = [chunk async for chunk in stream]


@pytest.mark.parametrize(
    ("kind", "text"), [(SSE, f"data: {DELTA}\n"), (NDJSON, LINE), ("text/plain", "x\n")]
)
async def test_an_error_event_is_not_put_into_the_middle_of_another(
    front: Front, engine: Engine, kind: str, text: str
) -> None:
    """A stream that was cut inside an event ends there."""
    go = asyncio.Event()
    engine.reply = starts(kind, text, go)
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(ASKED + CHAT)
    await reader.readuntil(text.encode())
    go.set()
    rest = await reader.read()
    writer.close()
    assert rest == b"\r\n", "something came after the cut"


async def test_an_error_event_is_not_put_into_a_reply_of_fixed_length(
    front: Front, engine: Engine
) -> None:
    """It would count as part of what was announced."""
    go = asyncio.Event()

    async def reply(request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        head = {"Content-Type": NDJSON, "Content-Length": "9999"}
        response = web.StreamResponse(headers=head)
        await response.prepare(request)
        await response.write(LINE.encode() + b"\n")
        await go.wait()
        assert request.transport is not None
        request.transport.abort()
        return response

    engine.reply = reply
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(ASKED + CHAT)
    await reader.readuntil(LINE.encode() + b"\n")
    go.set()
    assert await reader.read() == b"", "something came after the cut"
    writer.close()


async def test_an_engine_that_falls_silent_in_the_middle_is_cut(
    open_gateway: Open, engine: Engine
) -> None:
    """Nobody waits for the rest for ever, and nobody takes the half for the whole."""
    engine.reply = starts(NDJSON, LINE + "\n", asyncio.Event())
    front = await open_gateway(limits=bounds(silence_s=0.1))
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(ASKED + CHAT)
    async with asyncio.timeout(scaled(5)):
        answer = await reader.read()
        await engine.left.wait()
    writer.close()
    assert b"fell silent" in answer
    assert not answer.endswith(b"0\r\n\r\n"), "the cut stream looks complete"


async def _stream_of(front: Front, engine: Engine, key: str) -> Any:
    """Return the streams of a chat that has begun and does not end."""
    engine.reply = starts(NDJSON, LINE + "\n", asyncio.Event())
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(ASKED.replace(KEY.encode(), key.encode()) + CHAT)
    await reader.readuntil(LINE.encode() + b"\n")
    return reader, writer


async def test_a_revoked_keys_open_stream_ends_at_once(
    open_gateway: Open, engine: Engine
) -> None:
    """It gets the reason, and the engine is freed; others go on."""
    front = await open_gateway(named=(ANN,))
    owners, owners_writer = await _stream_of(front, engine, KEY)
    reader, writer = await _stream_of(front, engine, ANN.secret)
    front.gateway.access = replace(OWNER, named=())
    async with asyncio.timeout(scaled(1)):
        rest = await reader.read()
        await engine.left.wait()
    assert b"no longer valid" in rest
    assert not rest.endswith(b"0\r\n\r\n"), "the cut stream looks complete"
    assert front.gateway.metrics.in_flight == 1, "the owner's stream was ended too"
    assert not owners.at_eof()
    for opened in (writer, owners_writer):
        opened.close()


async def test_a_key_ends_with_its_time_in_the_middle_of_a_stream(
    open_gateway: Open, engine: Engine
) -> None:
    """Whoever began in time does not stay for ever."""
    front = await open_gateway()
    short = replace(ANN, expires_at=time.time() + 0.3)
    front.gateway.access = replace(OWNER, named=(short,))
    reader, writer = await _stream_of(front, engine, ANN.secret)
    async with asyncio.timeout(scaled(2)):
        assert b"no longer valid" in await reader.read()
    writer.close()
    status, _, _ = await front.call(
        "GET", "/api/tags", headers={"x-api-key": ANN.secret}
    )
    assert status == 401, "an expired key lets somebody in"


async def test_a_key_whose_request_waits_is_revoked_with_a_proper_answer(
    open_gateway: Open,
) -> None:
    """Nothing was sent yet, so the status can be true."""
    front = await open_gateway(named=(ANN,))
    front.gateway.set_upstream(None)
    asked = asyncio.create_task(
        front.call(
            "POST",
            "/v1/chat/completions",
            data=CHAT,
            headers={"x-api-key": ANN.secret},
        )
    )
    await until(lambda: front.gateway.upstream.waiting)
    front.gateway.access = OWNER
    status, _, body = await asked
    assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")


async def test_a_slow_reader_holds_little_and_is_given_up_in_the_end(
    open_gateway: Open, engine: Engine
) -> None:
    """What it does not take stays with the engine; its place is for somebody else."""
    sent = 0

    async def endless(request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 2**16)
            sent += 2**16

    engine.reply = endless
    front = await open_gateway(limits=bounds(unread_s=0.5))
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # it can read
    writer.write(ASKED + CHAT)
    async with asyncio.timeout(scaled(10)):
        await engine.left.wait()
    assert sent < 32 * 2**20, f"{sent} bytes are held for a client that takes none"
    assert front.gateway.queue.active == 0, "it keeps its place"
    writer.close()
    assert not reader.at_eof()


@pytest.mark.parametrize(
    ("path", "kind", "first", "last"),
    [
        (
            "/v1/chat/completions",
            "text/event-stream",
            b'data: {"a": 1}\n\n',
            (
                b'data: {"error": {"message": "This key is no longer valid.", '
                b'"type": "invalid_request_error", "param": null, '
                b'"code": "invalid_api_key"}}\n\n'
            ),
        ),
        (
            "/v1/messages",
            "text/event-stream",
            b'event: a\ndata: {"a": 1}\n\n',
            (
                b'event: error\ndata: {"type": "error", "error": '
                b'{"type": "authentication_error", '
                b'"message": "This key is no longer valid."}}\n\n'
            ),
        ),
        (
            "/api/chat",
            "application/x-ndjson",
            b'{"a": 1}\n',
            b'{"error": "This key is no longer valid."}\n',
        ),
        ("/v1/chat/completions", "text/event-stream", b'data: {"a":', b""),
        ("/api/chat", "application/json", b'{"a": 1}\n', b""),
    ],
    ids=["openai", "anthropic", "native", "in the middle of an event", "no stream"],
)
async def test_a_stream_that_is_ended_says_why_in_its_own_dialect(
    open_gateway: Open, engine: Engine, path: str, kind: str, first: bytes, last: bytes
) -> None:
    """As its last event, where one can stand; it never looks as if it were whole."""

    async def stream(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        await response.write(first)
        await asyncio.Event().wait()
        return response

    engine.reply = stream
    front = await open_gateway(replace(OWNER, named=(ANN,)))
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    body = b'{"model": "tiny", "stream": true}'
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {ANN.secret}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    async with asyncio.timeout(scaled(5)):
        await reader.readuntil(first)
        front.gateway.access = OWNER
        rest = await reader.read()
    writer.close()
    assert last in rest, rest
    if not last:
        assert rest.strip() == b"", (
            f"something was sent where no event can be: {rest!r}"
        )
    assert not rest.endswith(b"0\r\n\r\n"), "the stream looks complete"
