"""The port itself: loopback only, sound HTTP only, closed in time."""

from __future__ import annotations

import asyncio
import json
import logging
import time

import psutil
import pytest
from aiohttp import web

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.errors import PortInUse
from spicy_avocado_magic.gateway.app import Gateway
from tests.machine_speed import scaled

from .conftest import KEY, OWNER, PROBE_SECRET, Engine, Front, exchange

CHAT = b'{"model":"tiny"}'
AUTH = f"Host: localhost\r\nAuthorization: Bearer {KEY}\r\n".encode()


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    """Return a raw request with the right key."""
    head = "".join(f"{header}\r\n" for header in headers).encode()
    return line.encode() + b"\r\n" + AUTH + head + b"\r\n" + body


async def test_a_port_in_use_is_an_error_with_a_remedy(front: Front) -> None:
    """A given port is used or an error is raised; no other port is chosen."""
    second = Gateway(access=OWNER, timeouts=Timeouts(), probe_secret=PROBE_SECRET)
    with pytest.raises(PortInUse, match=rf"{front.port}.*--port"):
        await second.start(front.port)
    await second.stop(0)


async def test_only_loopback_is_listened_on(front: Front) -> None:
    """No other machine of the network reaches the gateway but by the tunnel."""
    sockets = psutil.Process().net_connections("tcp")
    addresses = [
        sock.laddr.ip
        for sock in sockets
        if sock.status == psutil.CONN_LISTEN and sock.laddr.port == front.port
    ]
    assert addresses == ["127.0.0.1"], f"listens on {addresses}"


NO_HTTP = {
    "content-length and chunked": request(
        "POST /api/chat HTTP/1.1",
        "Content-Length: 4",
        "Transfer-Encoding: chunked",
        body=b"0\r\n\r\nGET /api/me HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ),
    "two content-lengths": request(
        "POST /api/chat HTTP/1.1",
        "Content-Length: 16",
        "Content-Length: 0",
        body=CHAT,
    ),
    "content-length list": request(
        "POST /api/chat HTTP/1.1", "Content-Length: 16, 16", body=CHAT
    ),
    "signed content-length": request(
        "POST /api/chat HTTP/1.1", "Content-Length: +16", body=CHAT
    ),
    "chunked is not last": request(
        "POST /api/chat HTTP/1.1",
        "Transfer-Encoding: chunked, identity",
        body=b"10\r\n" + CHAT + b"\r\n0\r\n\r\n",
    ),
    "two transfer-encodings": request(
        "POST /api/chat HTTP/1.1",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked",
        body=b"10\r\n" + CHAT + b"\r\n0\r\n\r\n",
    ),
    "space before the colon": request(
        "POST /api/chat HTTP/1.1",
        "Transfer-Encoding : chunked",
        "Content-Length: 16",
        body=CHAT,
    ),
    "folded header": request(
        "POST /api/chat HTTP/1.1",
        "X-A: b",
        " folded",
        "Content-Length: 16",
        body=CHAT,
    ),
    "two hosts": request(
        "POST /api/chat HTTP/1.1",
        "Host: evil.example",
        "Content-Length: 16",
        body=CHAT,
    ),
    "bare line feeds": request(
        "POST /api/chat HTTP/1.1", "Content-Length: 16", body=CHAT
    ).replace(b"\r\n", b"\n"),
    "no host": b"GET /api/tags HTTP/1.1\r\nx-api-key: " + KEY.encode() + b"\r\n\r\n",
    "no http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "many headers": request("GET / HTTP/1.1", *(f"X-{n}: a" for n in range(300))),
}


TOO_LONG = {
    "long target": request(f"GET /{'a' * 20_000} HTTP/1.1"),
    "long header": request("GET / HTTP/1.1", "X-A: " + "a" * 20_000),
}


@pytest.mark.parametrize("raw", TOO_LONG.values(), ids=TOO_LONG)
async def test_a_line_of_a_head_that_is_too_long_is_refused(
    front: Front, engine: Engine, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """With the status that says so, not as if it were no HTTP."""
    with caplog.at_level(logging.DEBUG):
        answer = await exchange(front.port, raw)
    assert answer.split()[1] == b"431", answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {
        "error": "The headers of this request are too large."
    }
    assert not engine.seen, f"the engine saw {engine.seen}"
    assert KEY not in caplog.text, "a raw request was logged"


@pytest.mark.parametrize("raw", NO_HTTP.values(), ids=NO_HTTP)
async def test_what_could_be_read_in_two_ways_reaches_nobody(
    front: Front, engine: Engine, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Ambiguous framing is 400 and the end of the connection, in our words."""
    with caplog.at_level(logging.DEBUG):
        answer = await exchange(front.port, raw)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 ")), answer
    assert answer.count(b"HTTP/1.") == 1, "a second request was read out of one"
    assert b"aiohttp" not in answer, "the library names itself"
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {
        "error": "This is not a proper HTTP request."
    }
    assert not engine.seen, f"the engine saw {engine.seen}"
    assert KEY not in caplog.text, "a raw request was logged"


TARGETS = [
    "http://localhost/api/tags",
    "http://evil.example/api/tags",
    "//api/tags",
    "/api//tags",
    "/api/tags/",
    "/api/%74ags",
    "/API/tags",
    "/api/tags#x",
    "/v1/../api/tags",
    "/.//api/tags",
    "/api/me",
    "/api/pull",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_a_target_is_compared_as_it_was_sent(
    front: Front, engine: Engine, target: str
) -> None:
    """No parser on the way normalises a target into a route."""
    raw = request(f"GET {target} HTTP/1.1", "Connection: close")
    answer = await exchange(front.port, raw)
    assert answer.startswith(b"HTTP/1.1 404 "), answer
    assert not engine.seen, f"the engine saw {engine.seen}"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request("GET /api/chat HTTP/1.1", "Connection: close"), 405),
        (request("OPTIONS * HTTP/1.1", "Connection: close"), 404),
        (request("CONNECT 127.0.0.1:11434 HTTP/1.1"), 404),
        (
            request(
                "GET /api/tags HTTP/1.1",
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            ),
            400,
        ),
        (
            request("GET /api/tags HTTP/1.1", "Connection: Upgrade", "Upgrade: h2c"),
            400,
        ),
    ],
)
async def test_no_method_and_no_upgrade_opens_a_tunnel(
    front: Front, engine: Engine, raw: bytes, status: int
) -> None:
    """What follows such a request is not read as another one."""
    answer = await exchange(front.port, raw)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
    assert not engine.seen, f"the engine saw {engine.seen}"


async def test_a_body_on_a_reading_route_is_no_second_request(
    front: Front, engine: Engine
) -> None:
    """The body of a GET is neither passed on nor taken for what comes next."""
    inner = b"DELETE /api/delete HTTP/1.1\r\nHost: localhost\r\n\r\n"
    raw = request("GET / HTTP/1.1", f"Content-Length: {len(inner)}", body=inner)
    answer = await exchange(
        front.port, raw + request("GET / HTTP/1.1", "Connection: close")
    )
    assert answer.count(b"HTTP/1.1 200 ") == len(engine.seen), answer
    for seen in engine.seen:
        assert (seen.method, seen.target, seen.body) == ("GET", "/", b""), f"{seen}"


async def test_stopping_cuts_open_streams_within_the_grace(
    front: Front, engine: Engine
) -> None:
    """A stream that would go on for ever ends, and not like a whole answer."""

    async def endless(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first\n")
        await asyncio.Event().wait()
        return response

    engine.reply = endless
    raw = request("POST /api/chat HTTP/1.1", "Content-Length: 16", body=CHAT)
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(raw)
    await reader.readuntil(b"first\n")
    started = time.monotonic()
    await front.gateway.stop(0.1)
    assert time.monotonic() - started < scaled(1), "stopping took longer than its grace"
    async with asyncio.timeout(scaled(1)):
        await engine.left.wait()
    try:
        rest = await reader.read()
    except ConnectionResetError:
        rest = b""
    assert b"0\r\n\r\n" not in rest, "the cut stream looks complete"
    writer.close()


async def test_stopping_lets_short_answers_arrive(front: Front, engine: Engine) -> None:
    """What runs is answered in full within the grace; nothing new is begun."""
    go = asyncio.Event()

    async def soon(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        await go.wait()
        return web.Response(body=b"done")

    raw = request("POST /api/chat HTTP/1.1", "Content-Length: 16", body=CHAT)
    idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", front.port)
    idle_writer.write(request("OPTIONS /api/chat HTTP/1.1"))
    await idle_reader.readuntil(b"\r\n\r\n")
    engine.reply = soon
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(raw)
    await engine.arrived.wait()
    stop = asyncio.create_task(front.gateway.stop(5))
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", front.port)
    idle_writer.write(request("OPTIONS /api/chat HTTP/1.1"))
    writer.write(raw)
    go.set()
    answer = await reader.read()
    assert answer.endswith(b"done"), "a short answer was cut"
    assert len(engine.seen) == 1, "a new request was begun"
    started = time.monotonic()
    await stop
    assert time.monotonic() - started < scaled(1), "it waited though nobody was left"
    async with asyncio.timeout(scaled(1)):
        assert await idle_reader.read() == b"", "a kept connection was still served"
    for each in (writer, idle_writer):
        each.close()
