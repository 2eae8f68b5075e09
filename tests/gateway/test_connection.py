"""Connections that say too little, too much, or take nothing."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from spicy_avocado_magic.gateway.connection import Connection
from tests.machine_speed import scaled

from .conftest import KEY, Engine, Front, Open, bounds, exchange, until

HEAD = (
    f"GET /api/status HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n\r\n".encode()
)
HELLO = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def _open(front: Front) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", front.port)


async def _is_ended(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(scaled(3)):
            return await reader.read() == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("sent", [b"", b"G", HEAD[:-2]])
@pytest.mark.parametrize("is_first", [True, False])
async def test_a_head_that_does_not_come_ends_the_connection(
    open_gateway: Open, sent: bytes, *, is_first: bool
) -> None:
    """A client that sends nothing, or incomplete headers, is disconnected."""
    idle_wait_s = 0.2 if not sent else 60.0
    front = await open_gateway(limits=bounds(head_wait_s=0.2, idle_wait_s=idle_wait_s))
    reader, writer = await _open(front)
    if not is_first:
        writer.write(HEAD)
        await reader.readuntil(b"true}")
    writer.write(sent)
    assert await _is_ended(reader)
    writer.close()


async def test_a_head_that_trickles_is_no_excuse(open_gateway: Open) -> None:
    """A byte now and then does not restart the time-out."""
    front = await open_gateway(limits=bounds(head_wait_s=0.3))
    reader, writer = await _open(front)
    loop = asyncio.get_running_loop()
    began = loop.time()
    ended = asyncio.create_task(_is_ended(reader))
    for byte in HEAD:
        if ended.done():
            break
        writer.write(bytes([byte]))
        await asyncio.wait([ended], timeout=0.05)
    assert await ended
    assert loop.time() - began < 0.05 * len(HEAD), "the whole head was waited for"
    writer.close()


async def test_a_request_that_takes_long_is_no_slow_head(
    open_gateway: Open, engine: Engine
) -> None:
    """The wait for a head is over once it is there."""
    front = await open_gateway(
        limits=bounds(head_wait_s=0.1, idle_wait_s=0.1, unread_s=0.1)
    )
    front.gateway.set_upstream(None)
    asked = asyncio.create_task(exchange(front.port, HEAD, until=b"true}"))
    done, _ = await asyncio.wait([asked], timeout=0.5)
    assert not done, "a request that waits for the engine was cut"
    front.gateway.set_upstream(engine.base_url)
    assert (await asked).startswith(b"HTTP/1.1 200 ")


async def test_a_connection_rests_between_two_requests_but_not_for_ever(
    open_gateway: Open,
) -> None:
    """A kept connection is served again, and closed when nothing more comes."""
    front = await open_gateway(limits=bounds(head_wait_s=0.1, idle_wait_s=0.6))
    reader, writer = await _open(front)
    writer.write(HEAD)
    await reader.readuntil(b"true}")
    ended = asyncio.create_task(_is_ended(reader))
    done, _ = await asyncio.wait([ended], timeout=0.3)
    assert not done, "it was closed like a slow head"
    assert await ended
    writer.close()


async def test_a_head_that_is_too_large_in_all_is_refused(front: Front) -> None:
    """Many lines, each of which would do, are one large head."""
    line = b"X-Filler: " + b"x" * 1000 + b"\r\n"
    reader, writer = await _open(front)
    writer.write(HELLO[:-2])
    answer = b""
    try:
        async with asyncio.timeout(scaled(5)):
            for _ in range(100):
                writer.write(line)
                await writer.drain()
            answer = await reader.read()
    except ConnectionError:
        answer = bytes(reader._buffer)  # type: ignore[attr-defined]
    writer.close()
    assert answer.startswith(b"HTTP/1.1 431 ") or not answer, answer


async def test_a_body_of_any_size_is_no_large_head(open_gateway: Open) -> None:
    """What belongs to a body is not counted, not even what is left unread of it."""
    front = await open_gateway(limits=bounds(head_bytes=1000))
    body = b'{"model":"tiny","prompt":"' + b"x" * 50_000 + b'"}'
    head = (
        f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    reader, writer = await _open(front)
    await until(lambda: front.gateway.connections.open)
    for _ in range(12):  # with headers that are together larger than the limit
        writer.write(head[:10])
        (connection,) = front.gateway.connections.open
        await until(lambda: connection.has_begun)  # noqa: B023
        writer.write(head[10:])
        await until(lambda: front.gateway.metrics.in_flight)
        writer.write(body)
        await reader.readuntil(b"true}")
        await until(lambda: not front.gateway.metrics.in_flight)
    writer.close()
    refused = await exchange(front.port, head.replace(b"chat", b"pull") + body)
    assert refused.count(b"HTTP/1.1 ") == 1, refused
    assert refused.startswith(b"HTTP/1.1 404 ")


async def test_unauthenticated_connections_replace_each_other_alone(
    open_gateway: Open,
) -> None:
    """The one who has waited longest goes; whoever has a key stays."""
    front = await open_gateway(limits=bounds(unauthenticated=2))
    known, known_writer = await _open(front)
    known_writer.write(HEAD)
    await known.readuntil(b"true}")
    unauthenticated = [await _open(front) for _ in range(3)]
    assert await _is_ended(unauthenticated[0][0]), "none was evicted"
    for reader, writer in unauthenticated[1:]:
        writer.write(HEAD)
        await reader.readuntil(b"true}")
    known_writer.write(HEAD)
    await known.readuntil(b"true}")
    for writer in (known_writer, *(writer for _, writer in unauthenticated)):
        writer.close()


async def test_an_idle_connection_is_evicted_before_one_with_a_request(
    open_gateway: Open, engine: Engine
) -> None:
    """Though it is the older one: its answer is under way."""
    is_open = asyncio.Event()

    async def later(request: web.BaseRequest, _: bytes) -> web.StreamResponse:
        await is_open.wait()
        return web.Response(text="there")

    engine.reply = later
    front = await open_gateway(limits=bounds(unauthenticated=1))
    asking, asking_writer = await _open(front)
    asking_writer.write(HELLO)
    await asyncio.wait_for(engine.arrived.wait(), scaled(5))
    silent, silent_writer = await _open(front)
    assert await _is_ended(silent), "none was evicted"
    is_open.set()
    async with asyncio.timeout(scaled(3)):
        assert await asking.readuntil(b"there"), "the one who asked was cut"
    for writer in (asking_writer, silent_writer):
        writer.close()


async def test_a_request_that_has_just_come_is_one(front: Front) -> None:
    """Its turn comes only in the next round of the loop."""

    async def never(request: web.BaseRequest) -> web.StreamResponse:
        raise AssertionError

    connection = Connection(front.gateway.connections, web.Server(never))
    reader, writer = await _open(front)
    connection.connection_made(writer.transport)
    assert not connection.has_pending_request, "an empty connection asks"
    connection.data_received(HELLO)
    assert connection.has_pending_request, "it was not seen until it is served"
    connection.abort()
    connection.connection_lost(None)
    assert await _is_ended(reader)


async def test_a_burst_of_callers_has_a_moment_to_show_its_keys(
    open_gateway: Open,
) -> None:
    """More of them than the limit of unauthenticated ones are all served."""
    front = await open_gateway(limits=bounds(unauthenticated=2))
    answers = await asyncio.gather(
        *(exchange(front.port, HEAD, until=b"true}") for _ in range(20))
    )
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)


async def test_connections_that_have_ended_are_forgotten(front: Front) -> None:
    """Nothing is kept of those who came and went."""
    connections = front.gateway.connections
    for _ in range(5):
        await exchange(
            front.port, HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
    await until(lambda: not connections.open)
    assert not connections.unauthenticated
