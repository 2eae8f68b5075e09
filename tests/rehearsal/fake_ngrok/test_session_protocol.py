"""How stand-in edge and agent talk and carry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from spicy_avocado_magic.rehearsal.fake_ngrok.session_protocol import (
    Stream,
    read_message,
    splice,
)
from tests.machine_speed import scaled


@asynccontextmanager
async def _pair() -> AsyncIterator[tuple[Stream, Stream]]:
    """Give both ends of one connection."""
    accepted: asyncio.Queue[Stream] = asyncio.Queue()
    server = await asyncio.start_server(
        lambda *stream: accepted.put_nowait(stream), "127.0.0.1", 0
    )
    near = await asyncio.open_connection(*server.sockets[0].getsockname())
    far = await accepted.get()
    try:
        yield near, far
    finally:
        for _, writer in (near, far):
            writer.transport.abort()
        server.close()
        await asyncio.sleep(0)


@pytest.mark.parametrize("line", [b"", b"[1]\n", b"nonsense\n", b"\xff\n", b"1\n"])
async def test_the_end_and_nonsense_end_a_session(line: bytes) -> None:
    """Whatever is not an object is as good as the connection's end."""
    reader = asyncio.StreamReader()
    reader.feed_data(line)
    reader.feed_eof()
    assert await read_message(reader) is None


async def test_each_side_ends_on_its_own() -> None:
    """The end of one direction passes, while the other still carries."""
    async with _pair() as (client, left), _pair() as (right, server):
        carrying = asyncio.create_task(splice(left, right))
        client[1].write_eof()
        assert await server[0].read() == b""
        server[1].write(b"late answer")
        server[1].write_eof()
        assert await client[0].read() == b"late answer"
        await carrying


async def test_a_reader_that_stops_holds_the_writer_back() -> None:
    """No more is buffered than the buffers hold; a slow client costs no memory."""
    async with _pair() as (client, left), _pair() as (right, server):
        carrying = asyncio.create_task(splice(left, right))
        server[1].write(bytes(50_000_000))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server[1].drain(), 0.2)
        assert left[1].transport.get_write_buffer_size() < 1_000_000
        client[1].transport.abort()
        async with asyncio.timeout(scaled(2)):
            await carrying
