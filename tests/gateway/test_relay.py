"""Bytes on their way: which arrive, when, and what happens when one side leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from .conftest import KEY, WITH_KEY, Engine, Front, Open, exchange

CHAT = b'{"model":"tiny"}'
DIGEST = "sha256:" + "ab" * 32
ASKED = (
    f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
    f"Content-Length: {len(CHAT)}\r\n\r\n"
).encode()


async def test_the_engine_is_asked_under_its_own_name(
    front: Front, engine: Engine
) -> None:
    """Host is the engine's; key, cookies, query and forwarding headers stay here."""
    status, _, _ = await front.call(
        "POST",
        "/api/chat?api_key=x",
        data=CHAT,
        headers={
            **WITH_KEY,
            "x-api-key": KEY,
            "Cookie": "a=b",
            "X-Forwarded-For": "1.2.3.4",
            "X-HTTP-Method-Override": "DELETE",
            "Host": "localhost",
        },
    )
    assert status == 200
    (seen,) = engine.seen
    assert seen.headers["Host"] in engine.base_url, "the client's Host went on"
    assert (seen.method, seen.target, seen.body) == ("POST", "/api/chat", CHAT)
    names = {name.lower() for name in seen.headers}
    assert names == {
        "host",
        "accept",
        "accept-encoding",
        "user-agent",
        "content-type",
        "content-length",
    }, f"more than needed went on: {names}"


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
            async with asyncio.timeout(1):
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


async def test_a_client_that_leaves_with_half_a_body_never_reaches_the_engine(
    front: Front, engine: Engine
) -> None:
    """Nothing is asked of the engine before the body is whole."""
    _, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(ASKED + CHAT[:5])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await front.call("GET", "/")
    assert [seen.target for seen in engine.seen] == ["/"], "half a body went on"


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


async def test_an_engine_that_breaks_off_before_its_head_is_a_bad_gateway(
    front: Front, engine: Engine
) -> None:
    """Nothing was sent yet, so the client can be told, and can try again."""

    async def dies(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    engine.reply = dies
    status, reply, body = await front.call(
        "POST", "/v1/messages", data=CHAT, headers=WITH_KEY
    )
    assert status == 502
    assert int(reply.headers["Retry-After"]) > 0
    assert json.loads(body)["error"]["type"] == "api_error"
    listing, _, _ = await front.call("GET", "/api/tags", headers=WITH_KEY)
    assert listing == 502, "a listing that broke off"


async def test_an_engine_that_does_not_listen_is_still_loading(
    front: Front, unused_tcp_port: int
) -> None:
    """A restarting engine is told apart from a refusal."""
    front.gateway.set_upstream(f"http://127.0.0.1:{unused_tcp_port}")
    status, reply, body = await front.call("GET", "/")
    assert (status, "Retry-After" in reply.headers) == (503, True)
    assert b"still loading" in body


async def test_no_proxy_of_the_environment_stands_before_the_engine(
    open_gateway: Open, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook's proxy variables are for the internet, not for loopback."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    front = await open_gateway()
    status, _, _ = await front.call("GET", "/")
    assert (status, len(engine.seen)) == (200, 1), "a proxy was asked"


async def test_listings_tell_of_served_models_only(
    front: Front, engine: Engine
) -> None:
    """What else is installed on the machine is nobody's business."""
    models = [{"name": "tiny:latest", "size": 1}, {"name": "secret:latest"}]
    data = [{"id": "tiny:latest"}, {"id": "secret:latest"}]

    async def lists(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        if request.path == "/v1/models":
            return web.json_response({"object": "list", "data": data})
        return web.json_response({"models": models})

    engine.reply = lists
    for path in ("/api/tags", "/api/ps"):
        _, _, body = await front.call("GET", path, headers=WITH_KEY)
        assert json.loads(body) == {"models": models[:1]}, f"{path} tells too much"
    _, _, body = await front.call("GET", "/v1/models", headers=WITH_KEY)
    assert json.loads(body) == {"object": "list", "data": data[:1]}
    status, reply, body = await front.call("HEAD", "/api/tags", headers=WITH_KEY)
    assert (status, body) == (200, b"")
    filtered = len(json.dumps({"models": models[:1]}))
    assert reply.headers["Content-Length"] == str(filtered), "the size tells of others"


@pytest.mark.parametrize("reply", [{"models": 5}, {}, [], "x"])
async def test_a_listing_that_is_none_is_a_bad_gateway(
    front: Front, engine: Engine, reply: object
) -> None:
    """A list that cannot be filtered is not passed on."""

    async def odd(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        return web.json_response(reply)

    engine.reply = odd
    status, _, _ = await front.call("GET", "/api/tags", headers=WITH_KEY)
    assert status == 502


@pytest.mark.parametrize("has_length", [False, True])
async def test_a_blob_goes_up_as_it_comes(
    open_gateway: Open, engine: Engine, *, has_length: bool
) -> None:
    """An upload of any size is held in memory nowhere."""
    front = await open_gateway(manage=True)
    first_half_is_there = asyncio.Event()
    got: list[bytes] = []

    async def upload() -> AsyncIterator[bytes]:
        yield b"first"
        async with asyncio.timeout(2):
            await first_half_is_there.wait()
        yield b"second"

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        async for chunk in request.content.iter_any():
            got.append(chunk)
            first_half_is_there.set()
        lengths.append(request.headers.get("Content-Length"))
        return web.Response(status=201)

    lengths: list[str | None] = []
    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    front.gateway.set_upstream(f"http://127.0.0.1:{runner.addresses[0][1]}")
    headers = {**WITH_KEY, **({"Content-Length": "11"} if has_length else {})}
    status, _, _ = await front.call(
        "POST", f"/api/blobs/{DIGEST}", data=upload(), headers=headers
    )
    await runner.cleanup()
    assert (status, b"".join(got)) == (201, b"firstsecond")
    assert lengths == ["11" if has_length else None], "the length did not go along"


async def test_asking_for_a_blob_sends_none(open_gateway: Open, engine: Engine) -> None:
    """A HEAD has no body, whatever its sender says."""
    front = await open_gateway(manage=True)
    await front.call(
        "HEAD", f"/api/blobs/{DIGEST}", data=b"not wanted", headers=WITH_KEY
    )
    (seen,) = engine.seen
    assert (seen.method, seen.body) == ("HEAD", b"")
    assert "Transfer-Encoding" not in seen.headers, "a body was announced"


async def test_a_blob_whose_sender_leaves_ends_upstream(
    open_gateway: Open, engine: Engine
) -> None:
    """Half an upload does not pass for a whole one."""
    front = await open_gateway(manage=True)
    _, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(
        f"POST /api/blobs/{DIGEST} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n".encode()
    )
    await engine.arrived.wait()
    writer.close()
    async with asyncio.timeout(1):
        await engine.left.wait()
    assert not engine.seen, "the half looked complete to the engine"


async def test_a_kept_connection_serves_one_caller_after_another(
    front: Front, engine: Engine
) -> None:
    """Answers on one connection come in order, each with its own request."""
    close = ASKED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    answer = await exchange(front.port, ASKED + CHAT + close + CHAT)
    assert answer.count(b"HTTP/1.1 200 OK") == 2, answer
    assert [seen.body for seen in engine.seen] == [CHAT, CHAT]
