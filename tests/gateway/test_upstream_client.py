"""Connections to the engine: reused only when intact, one error for each failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from multidict import CIMultiDict

from spicy_avocado_magic.gateway.upstream_client import (
    ConnectError,
    ReadTimeout,
    RemoteProtocolError,
    UpstreamClient,
    UpstreamResponse,
)
from tests.machine_speed import scaled

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def engine(script: Script) -> AsyncIterator[tuple[str, list[int]]]:
    """Serve raw connections by a script; yield the address and each caller's port."""
    callers: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(writer.get_extra_info("peername")[1])
        try:
            await script(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # asyncio's own callback would log a cancellation as an error
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", callers
    finally:
        server.close()


def answering(*answers: bytes) -> Script:
    """Answer each request on a connection with the same bytes."""

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"".join(answers))
            await writer.drain()

    return script


async def get(link: UpstreamClient, url: str, silence_s: float = 5) -> UpstreamResponse:
    """Ask for something without a body."""
    return await link.request(url, "GET /", CIMultiDict(Host="x"), None, silence_s)


async def test_a_connection_is_used_again_after_a_whole_reply() -> None:
    """One client after the other costs one connection."""
    link = UpstreamClient(1)
    async with engine(answering(WHOLE)) as (url, callers):
        for _ in range(3):
            reply = await get(link, url)
            assert await reply.content.read() == b"ok", "the body is not what was sent"
            reply.close()
        assert len(callers) == 1, f"{len(callers)} connections for three requests"
        link.close()


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        WHOLE + WHOLE,
    ],
    ids=["unread", "closing", "more than asked for"],
)
async def test_a_connection_is_not_used_again_where_bytes_could_be_left(
    first: bytes,
) -> None:
    """What is left of one reply must not be read as the next client's."""
    link = UpstreamClient(1)
    async with engine(answering(first)) as (url, callers):
        for _ in range(2):
            reply = await get(link, url)
            await reply.content.readany()
            reply.close()
        assert len(callers) == 2, "a connection with something left was used again"
        link.close()


async def test_the_engines_connections_are_those_of_its_present_address() -> None:
    """An engine on another port gets none of the old connections."""
    link = UpstreamClient(1)
    async with (
        engine(answering(WHOLE)) as (old, _),
        engine(answering(WHOLE)) as (new, callers),
    ):
        for url in (old, new):
            reply = await get(link, url)
            await reply.content.read()
        assert len(callers) == 1, "the request went to the old engine"
        link.close()


async def test_no_connection_means_that_nothing_was_sent() -> None:
    """A port where nobody listens may be asked again later."""
    async with engine(answering(WHOLE)) as (url, _):
        pass
    with pytest.raises(ConnectError):
        await get(UpstreamClient(1), url)


async def test_a_head_that_does_not_come_is_silence() -> None:
    """The wait for the head is bounded."""
    async with engine(answering()) as (url, _):
        with pytest.raises(ReadTimeout):
            await get(UpstreamClient(1), url, silence_s=0.05)


@pytest.mark.parametrize("sent_bytes", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 O"])
async def test_what_is_no_reply_is_a_break(sent_bytes: bytes) -> None:
    """An end before the head, and what is no HTTP, are the engine's failure."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent_bytes)

    async with engine(once) as (url, _):
        with pytest.raises(RemoteProtocolError):
            await get(UpstreamClient(1), url)


async def test_interim_replies_are_not_the_reply() -> None:
    """A ``100 Continue`` before the head is passed over."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    async with engine(answering(interim, WHOLE)) as (url, _):
        reply = await get(UpstreamClient(1), url)
        assert reply.status == 200, f"the reply is {reply.status}"
        reply.close()


async def test_a_body_goes_out_piece_by_piece() -> None:
    """What is not held in memory is sent as it comes, in chunks."""
    seen = asyncio.get_running_loop().create_future()

    async def listen(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        seen.set_result(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(WHOLE)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"three"

    async with engine(listen) as (url, _):
        reply = await UpstreamClient(1).request(
            url, "POST /", CIMultiDict(), pieces(), 5
        )
        assert (await seen).endswith(b"3\r\none\r\n5\r\nthree\r\n0\r\n\r\n")
        reply.close()


async def test_a_body_that_fails_raises_its_own_error() -> None:
    """A stalled upload is not taken for a broken engine."""

    async def stalled() -> AsyncIterator[bytes]:
        yield b"one"
        raise LookupError("stalled")

    async with engine(answering()) as (url, _):
        with pytest.raises(LookupError, match="stalled"):
            await UpstreamClient(1).request(url, "POST /", CIMultiDict(), stalled(), 5)


async def test_an_early_reply_ends_a_body_that_still_comes() -> None:
    """The engine may refuse an upload midway; that connection is then of no use."""
    never = asyncio.Event()
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            await never.wait()
        finally:
            ended.set()

    link = UpstreamClient(1)
    async with engine(answering(WHOLE)) as (url, callers):
        reply = await link.request(url, "POST /", CIMultiDict(), endless(), 5)
        assert await reply.content.read() == b"ok"
        reply.close()
        async with asyncio.timeout(scaled(5)):
            await ended.wait()
        reply = await get(link, url)
        assert len(callers) == 2, "half a request would have been before the next"
        reply.close()


async def test_a_long_upload_is_no_silence() -> None:
    """The engine's time begins when it has all of the body."""

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(4):
            await asyncio.sleep(0.1)
            yield b"piece"

    async def listen(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(WHOLE)

    async with engine(listen) as (url, _):
        link = UpstreamClient(1)
        reply = await link.request(url, "POST /", CIMultiDict(), slowly(), 0.25)
        assert reply.status == 200
        reply.close()


async def test_an_engine_that_says_nothing_after_an_upload_is_silent() -> None:
    """Once it has the body, its time is bounded as for any other request."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"

    async def listen(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.read()

    async with engine(listen) as (url, _), asyncio.timeout(scaled(5)):
        with pytest.raises(ReadTimeout):
            await UpstreamClient(1).request(
                url, "POST /", CIMultiDict(), pieces(), 0.05
            )


async def test_a_large_body_arrives_whole() -> None:
    """What is written piece by piece is framed by its length, and exact."""
    body = bytes(range(256)) * 2**14 + b"end"
    seen = asyncio.get_running_loop().create_future()

    async def listen(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.set_result((head, await reader.readexactly(len(body))))
        writer.write(WHOLE)

    async with engine(listen) as (url, _):
        reply = await UpstreamClient(1).request(url, "POST /", CIMultiDict(), body, 5)
        head, received = await seen
        assert received == body, "the body is not what was sent"
        assert f"Content-Length: {len(body)}".encode() in head, f"the head is {head!r}"
        assert b"chunked" not in head, "a body of known length is framed twice"
        reply.close()
