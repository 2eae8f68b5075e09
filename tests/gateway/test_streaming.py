"""The stream through the gateway: exact, at once, and never more than fits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.http import StreamWriter
from multidict import CIMultiDict

from spicy_avocado_magic.gateway.streaming import BodyStreamer
from spicy_avocado_magic.gateway.upstream_client import (
    ReadTimeout,
    RemoteProtocolError,
    UpstreamClient,
)
from tests.machine_speed import scaled

from .conftest import Engine, Front
from .test_upstream_client import engine as raw_engine

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MIB = 2**20
Write = Callable[[bytes], Awaitable[None]]


def chunk(content: bytes) -> bytes:
    """Return one chunk as it goes over the wire."""
    return b"%x\r\n%b\r\n" % (len(content), content)


class Stand:
    """A pump between a scripted engine and a raw client.

    Attributes:
        written: Bytes that the engine could send so far.
        outcome: What the pump ended with; None for a whole body.
    """

    def __init__(self) -> None:
        self.written = 0
        self.outcome: asyncio.Future[BaseException | None] = (
            asyncio.get_running_loop().create_future()
        )
        self.heard: list[bytes] = []
        self.transport: asyncio.Transport | None = None
        self.verdict: Exception | None = None

    def unread(self) -> int:
        """Return how many bytes wait for the client."""
        return self.transport.get_write_buffer_size() if self.transport else 0

    def hear(self, received: bytes) -> Exception | None:
        """Keep what passes, and end all if there is a verdict."""
        self.heard.append(received)
        return self.verdict

    async def serve(self, request: web.BaseRequest, url: str, silence_s: float) -> None:
        """Pass the engine's body on."""
        link = UpstreamClient(1)
        self.transport = request.transport
        reply = await link.request(url, "GET /", CIMultiDict(), None, 5)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await BodyStreamer(reply, request, self.hear).run(silence_s)
        except BaseException as error:
            self.outcome.set_result(error)
            raise
        else:
            self.outcome.set_result(None)
        finally:
            reply.close()
            link.close()

    @asynccontextmanager
    async def open(
        self, script: Callable[[Write], Awaitable[None]], silence_s: float = 5
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Yield a client that has sent its request."""

        async def play(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            async def write(content: bytes) -> None:
                writer.write(content)
                await writer.drain()
                self.written += len(content)

            await reader.readuntil(b"\r\n\r\n")
            await script(write)

        async with raw_engine(play) as (url, _):

            async def handle(request: web.BaseRequest) -> web.StreamResponse:
                await self.serve(request, url, silence_s)
                raise ConnectionError

            loop = asyncio.get_running_loop()
            server = web.Server(handle, handler_cancellation=True)
            listener = await loop.create_server(server, "127.0.0.1", 0)
            port = listener.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, limit=2**16
            )
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            try:
                yield reader, writer
            finally:
                writer.close()
                listener.close()
                await server.shutdown(0.1)

    async def ended(self) -> BaseException | None:
        """Return what the pump ended with."""
        async with asyncio.timeout(scaled(5)):
            return await self.outcome


async def test_a_slow_reader_holds_a_bounded_buffer() -> None:
    """The engine waits for a client that reads nothing; then all of it arrives."""
    stand, count = Stand(), 32

    async def much(write: Write) -> None:
        await write(HEAD)
        for number in range(count):
            await write(chunk(bytes([number]) * MIB))
        await write(b"0\r\n\r\n")

    async with stand.open(much) as (reader, _):
        last = -1
        while stand.written != last:
            last = stand.written
            await asyncio.sleep(0.2)  # no event shows that nothing more happens
        held = sum(map(len, stand.heard))
        assert last < (count - 4) * MIB, f"{last} bytes were taken from the engine"
        assert held < 8 * MIB, f"{held} bytes were passed to a client that reads none"
        while await reader.read(MIB):
            pass
        assert await stand.ended() is None, "the stream was not whole"
        whole = b"".join(bytes([number]) * MIB for number in range(count))
        assert b"".join(stand.heard) == whole, "bytes were lost or reordered"


async def test_time_in_which_the_client_is_slow_is_no_silence() -> None:
    """An engine that we made wait is not blamed for it."""
    stand, count = Stand(), 32

    async def much(write: Write) -> None:
        await write(HEAD)
        for _ in range(count):
            await write(chunk(b"x" * MIB))
        await write(b"0\r\n\r\n")

    async with stand.open(much, silence_s=0.2) as (reader, _):
        await asyncio.sleep(0.5)
        while await reader.read(MIB):
            pass
        assert await stand.ended() is None, "the engine was blamed"


async def test_the_silence_timer_restarts_once_a_slow_client_has_read() -> None:
    """What it had to read was all there was: the engine gets its whole time again."""
    stand, go = Stand(), asyncio.Event()

    async def fill(write: Write) -> None:
        await write(HEAD)
        while stand.unread() <= 2**16:
            await write(chunk(b"x" * 2**16))
            await asyncio.sleep(0.001)
        await go.wait()
        await write(b"0\r\n\r\n")

    async with stand.open(fill, silence_s=1.0) as (reader, _):
        await asyncio.sleep(1.5)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.7):
                while await reader.read(MIB):
                    pass
        go.set()
        assert await stand.ended() is None, "the engine was given too little time"


async def test_an_engine_that_falls_silent_midway_is_a_read_timeout() -> None:
    """A stream in which nothing comes any more ends, however it began."""
    stand, never = Stand(), asyncio.Event()

    async def stall(write: Write) -> None:
        await write(HEAD + chunk(b"one"))
        await never.wait()

    async with stand.open(stall, silence_s=0.1):
        assert isinstance(await stand.ended(), ReadTimeout)
        never.set()


async def test_an_engine_that_breaks_off_is_a_protocol_error() -> None:
    """What was there is passed on, and the end is known for a break."""
    stand = Stand()

    async def broken(write: Write) -> None:
        await write(HEAD + chunk(b"one") + b"5\r\ntw")

    async with stand.open(broken):
        assert isinstance(await stand.ended(), RemoteProtocolError)
        assert b"".join(stand.heard) == b"onetw", "what had come was held back"


async def test_a_verdict_ends_the_stream_right_after_its_chunk() -> None:
    """Whoever has used up a bound gets the chunk that did so, and no more."""
    stand, never = Stand(), asyncio.Event()
    stand.verdict = LookupError("enough")

    async def go_on(write: Write) -> None:
        await write(HEAD + chunk(b"one"))
        await never.wait()

    async with stand.open(go_on) as (reader, _):
        assert await stand.ended() is stand.verdict
        assert (await reader.readuntil(b"one\r\n")).endswith(chunk(b"one"))
        never.set()


async def test_a_client_that_leaves_ends_the_pump() -> None:
    """Nothing goes on for a client who has left."""
    stand, never = Stand(), asyncio.Event()

    async def stall(write: Write) -> None:
        await write(HEAD + chunk(b"one"))
        await never.wait()

    async with stand.open(stall) as (reader, writer):
        await reader.readuntil(b"one\r\n")
        writer.close()
        left = await stand.ended()
        assert isinstance(left, asyncio.CancelledError | ConnectionError), repr(left)
        never.set()


async def test_one_connection_serves_streams_one_after_the_other(
    front: Front, engine: Engine
) -> None:
    """The end of one stream takes nothing from the next on the same connection."""
    ports = set()

    async def stepwise(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername"))
        response = web.StreamResponse()
        await response.prepare(request)
        for number in range(50):
            await response.write(b"%d\n" % number)
            await asyncio.sleep(0)
        return response

    engine.reply = stepwise
    expected = b"".join(b"%d\n" % number for number in range(50))
    chat = b'{"model": "tiny"}'
    headers = {"Authorization": "Bearer right-key-0123456789"}
    for _ in range(20):
        _, _, body = await front.call("POST", "/api/chat", data=chat, headers=headers)
        assert body == expected, f"the stream was {body!r}"
    assert len(ports) == 1, f"{len(ports)} connections to the engine"


async def test_head_and_first_bytes_leave_together(
    front: Front, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the engine sends in one piece costs one write, not two."""
    writes: list[bytes] = []
    original, original_lines = StreamWriter._write, StreamWriter._writelines

    def write(writer: StreamWriter, data: bytes) -> None:
        writes.append(bytes(data))
        original(writer, data)

    def write_lines(writer: StreamWriter, pieces: Sequence[bytes]) -> None:
        writes.append(b"".join(pieces))
        original_lines(writer, pieces)

    async def speak(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(HEAD + chunk(b"one"))
        await asyncio.Event().wait()
        raise ConnectionError

    engine.reply = speak
    monkeypatch.setattr(StreamWriter, "_write", write)
    monkeypatch.setattr(StreamWriter, "_writelines", write_lines)
    headers = {"Authorization": "Bearer right-key-0123456789"}
    async with front.client.post(
        f"{front.url}/api/chat", data=b'{"model": "tiny"}', headers=headers
    ) as reply:
        assert await reply.content.readany() == b"one"
    ours = [data for data in writes if b"Server: avocado" in data]
    assert len(ours) == 1, f"{len(ours)} heads"
    assert ours[0].endswith(chunk(b"one")), f"the head left alone: {ours[0]!r}"
