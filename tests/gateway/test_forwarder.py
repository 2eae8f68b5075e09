"""Bytes on their way: which arrive, when, and what happens when one side leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web

from tests.machine_speed import scaled

from .conftest import KEY, WITH_KEY, Engine, Front, Open, bounds, exchange, until

CHAT = b'{"model":"tiny"}'
DIGEST = "sha256:" + "ab" * 32
ASKED = (
    f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
    f"Content-Length: {len(CHAT)}\r\n\r\n"
).encode()


async def _dies(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
    """Close the connection as an engine that crashes before its response."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


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


async def test_an_engine_that_breaks_off_before_its_head_is_a_bad_gateway(
    front: Front, engine: Engine
) -> None:
    """Nothing was sent yet, so the client gets an error and can retry."""
    engine.reply = _dies
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
    """A restarting engine is not an error of the request."""
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


async def test_listings_have_served_models_only(front: Front, engine: Engine) -> None:
    """Other models on the machine stay hidden."""
    models = [{"name": "tiny:latest", "size": 1}, {"name": "secret:latest"}]
    data = [{"id": "tiny:latest"}, {"id": "secret:latest"}]

    async def lists(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        if request.path == "/v1/models":
            return web.json_response({"object": "list", "data": data})
        return web.json_response({"models": models})

    engine.reply = lists
    for path in ("/api/tags", "/api/ps"):
        _, _, body = await front.call("GET", path, headers=WITH_KEY)
        assert json.loads(body) == {"models": models[:1]}, f"{path} reveals too much"
    _, _, body = await front.call("GET", "/v1/models", headers=WITH_KEY)
    assert json.loads(body) == {"object": "list", "data": data[:1]}
    status, reply, body = await front.call("HEAD", "/api/tags", headers=WITH_KEY)
    assert (status, body) == (200, b"")
    filtered = len(json.dumps({"models": models[:1]}))
    assert reply.headers["Content-Length"] == str(filtered), "the size reveals others"


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
        async with asyncio.timeout(scaled(2)):
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
    async with asyncio.timeout(scaled(1)):
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


async def _asks(front: Front, path: str = "/api/chat", **sent: object) -> int:
    status, _, _ = await front.call(
        "POST", path, json={"model": "tiny"} | sent, headers=WITH_KEY
    )
    return status


async def _until_held(front: Front, count: int) -> None:
    await until(lambda: front.gateway.upstream.waiting >= count)


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_requests_wait_for_an_engine_that_restarts(
    front: Front, engine: Engine, path: str
) -> None:
    """Nobody sees a restart but as a wait."""
    front.gateway.set_upstream(None)
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(_asks(front, path)) for _ in range(3)]
        await _until_held(front, 3)
        assert not engine.seen
        front.gateway.set_upstream(engine.base_url)
    assert [waiter.result() for waiter in asked] == [200, 200, 200]
    assert len(engine.seen) == 3, "a request was lost or sent twice"
    assert front.gateway.upstream.waiting == 0, "they still count as waiting"


async def test_a_port_that_nobody_listens_on_any_more_is_waited_for(
    front: Front, engine: Engine, unused_tcp_port: int
) -> None:
    """The engine's end is seen by a request before the supervisor sees it."""
    front.gateway.set_upstream(f"http://127.0.0.1:{unused_tcp_port}")
    asked = asyncio.create_task(_asks(front))
    await until(lambda: front.gateway.queue.active)
    front.gateway.set_upstream(None)
    await _until_held(front, 1)
    front.gateway.set_upstream(engine.base_url)
    assert await asked == 200


async def test_only_so_many_requests_wait_for_an_engine(open_gateway: Open) -> None:
    """One more gets a Retry-After at once."""
    front = await open_gateway(limits=bounds(hold=1))
    front.gateway.set_upstream(None)
    first = asyncio.create_task(_asks(front))
    await _until_held(front, 1)
    assert await _asks(front) == 503
    first.cancel()


async def test_an_unauthenticated_client_cannot_make_the_gateway_wait(
    front: Front,
) -> None:
    """Public routes are 503 at once without an engine."""
    front.gateway.set_upstream(None)
    async with asyncio.timeout(scaled(1)):
        status, _, _ = await front.call("GET", "/")
    assert status == 503


async def test_a_request_whose_engine_died_is_asked_once_more(
    front: Front, engine: Engine
) -> None:
    """It had no response yet, so nothing is sent twice."""
    usual = engine.reply
    died = 0

    async def dies_once(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        nonlocal died
        if not died:
            died += 1
            assert request.transport is not None
            request.transport.abort()
        return await usual(request, body)

    engine.reply = dies_once
    assert await _asks(front) == 200
    assert [seen.target for seen in engine.seen] == ["/api/chat"] * 2


async def test_a_request_that_ends_the_engine_each_time_is_not_asked_for_ever(
    front: Front, engine: Engine
) -> None:
    """Twice is enough: it may be the cause."""
    engine.reply = _dies
    assert await _asks(front) == 502
    assert len(engine.seen) == 2


async def test_what_changes_the_installed_models_is_never_asked_twice(
    open_gateway: Open, engine: Engine
) -> None:
    """A model that was created may be there although no answer came."""
    engine.reply = _dies
    front = await open_gateway(manage=True)
    assert await _asks(front, "/api/create", **{"from": "tiny"}) == 502
    assert len(engine.seen) == 1, "an order was given twice"


async def test_an_engine_that_says_nothing_for_too_long_is_given_up(
    open_gateway: Open, engine: Engine
) -> None:
    """A hung engine does not hold its callers for ever."""

    async def hangs(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    engine.reply = hangs
    front = await open_gateway(limits=bounds(silence_s=0.1))
    assert await _asks(front) == 504
    async with asyncio.timeout(scaled(1)):
        await engine.left.wait()


async def test_a_blob_that_stalls_is_given_up(
    open_gateway: Open, engine: Engine
) -> None:
    """The client gets an error, and the engine is freed."""
    front = await open_gateway(limits=bounds(body_wait_s=0.1), manage=True)
    head = (
        f"POST /api/blobs/{DIGEST} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
        "Content-Length: 100\r\n\r\nhalf"
    )
    answer = await exchange(front.port, head.encode())
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    async with asyncio.timeout(scaled(1)):
        await engine.left.wait()


async def test_a_wanted_model_that_the_engine_lacks_is_asked_for_again(
    front: Front, engine: Engine
) -> None:
    """Its files were deleted and are fetched again: 404 would be for good."""

    async def lacks(_request: web.BaseRequest, _body: bytes) -> web.StreamResponse:
        return web.json_response({"error": "model 'tiny' not found"}, status=404)

    engine.reply = lacks
    gateway = front.gateway
    status, _, _ = await front.call("POST", "/api/chat", data=CHAT, headers=WITH_KEY)
    assert status == 404, "a model that was not requested counts as loading"
    gateway.access = replace(gateway.access, awaited=("tiny",))
    status, _, _ = await front.call("POST", "/api/chat", data=CHAT, headers=WITH_KEY)
    assert status == 503, "a model that is being downloaded again is 404"


async def test_an_api_that_an_older_engine_lacks_is_404_with_the_reason(
    front: Front, engine: Engine
) -> None:
    """It is no missing model, which a client would wait for."""

    async def lacks(_request: web.BaseRequest, _body: bytes) -> web.StreamResponse:
        return web.Response(text="404 page not found", status=404)

    engine.reply = lacks
    front.gateway.access = replace(front.gateway.access, awaited=("tiny",))
    status, _, body = await front.call(
        "POST", "/v1/messages", data=CHAT, headers=WITH_KEY
    )
    assert status == 404
    assert b"too old for /v1/messages" in body
