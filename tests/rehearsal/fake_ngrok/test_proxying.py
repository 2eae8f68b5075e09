"""One request and its reply, between a client and an agent played by the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from spicy_avocado_magic.rehearsal.fake_ngrok.http1 import Head
from spicy_avocado_magic.rehearsal.fake_ngrok.proxying import (
    ClientConnection,
    UpstreamClosed,
)
from spicy_avocado_magic.rehearsal.fake_ngrok.session_protocol import Stream
from tests.machine_speed import scaled

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@contextlib.asynccontextmanager
async def _pair() -> AsyncIterator[tuple[Stream, Stream]]:
    """Give both ends of a connection."""
    accepted: asyncio.Queue[Stream] = asyncio.Queue()
    server = await asyncio.start_server(
        lambda *stream: accepted.put_nowait(stream), "127.0.0.1", 0
    )
    ours = await asyncio.open_connection(*server.sockets[0].getsockname())
    theirs = await accepted.get()
    try:
        yield ours, theirs
    finally:
        server.close()
        for _, writer in (ours, theirs):
            writer.close()


@dataclass
class Ends:
    """A client's own end, the edge's of it, and both of the agent's connection."""

    user: Stream
    client: ClientConnection
    data: Stream
    agent: Stream

    async def relay(self) -> bool:
        """Carry the next request."""
        head = await self.client.reader.head()
        assert head is not None
        return await self.client.relay(head, self.data)


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    """Give a client and an agent, connected to the edge."""
    async with _pair() as (user, client), _pair() as (agent, data):
        yield Ends(user, ClientConnection(client), data, agent)


async def test_a_request_and_its_reply_pass_byte_for_byte(ends: Ends) -> None:
    """And the client may ask again on the same connection."""
    ends.user[1].write(POST + b"body" + ASK)
    relaying = asyncio.create_task(ends.relay())
    assert await ends.agent[0].readexactly(len(POST) + 4) == POST + b"body"
    ends.agent[1].write(OK)
    assert await relaying, "the connection was not kept open"
    assert await ends.user[0].readexactly(len(OK)) == OK
    following = await ends.client.reader.head()
    assert following is not None
    assert following.raw == ASK, "the request that came along was lost"


async def test_parts_of_a_reply_do_not_wait_for_the_rest(ends: Ends) -> None:
    """A stream arrives as it is sent."""
    ends.user[1].write(ASK)
    relaying = asyncio.create_task(ends.relay())
    ends.agent[1].write(CHUNKED)
    assert await ends.user[0].readexactly(len(CHUNKED)) == CHUNKED
    for part in (b"3\r\none\r\n", b"3\r\ntwo\r\n", b"0\r\n\r\n"):
        ends.agent[1].write(part)
        assert await ends.user[0].readexactly(len(part)) == part
    assert await relaying


async def test_an_interim_reply_comes_before_the_body_is_sent(ends: Ends) -> None:
    """A client that waits for 100 Continue gets it."""
    ends.user[1].write(POST)
    relaying = asyncio.create_task(ends.relay())
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    ends.agent[1].write(interim)
    assert await ends.user[0].readexactly(len(interim)) == interim
    ends.user[1].write(b"body")
    assert await ends.agent[0].readexactly(len(POST) + 4) == POST + b"body"
    ends.agent[1].write(OK)
    assert await relaying


@pytest.mark.parametrize(
    ("request_head", "reply"),
    [
        (b"HEAD / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        (ASK, b"HTTP/1.1 204 No Content\r\n\r\n"),
    ],
)
async def test_a_reply_without_a_body_is_whole(
    ends: Ends, request_head: bytes, reply: bytes
) -> None:
    """Nothing is waited for that does not come."""
    ends.user[1].write(request_head)
    ends.agent[1].write(reply)
    async with asyncio.timeout(scaled(5)):
        assert await ends.relay()
    assert await ends.user[0].readexactly(len(reply)) == reply


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\n\r\nto the end",
        OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1),
    ],
)
async def test_a_connection_ends_where_the_reply_says_so(
    ends: Ends, reply: bytes
) -> None:
    """By its header, or since nothing else marks its end."""
    ends.user[1].write(ASK)
    ends.agent[1].write(reply)
    ends.agent[1].write_eof()
    assert not await ends.relay()
    assert await ends.user[0].readexactly(len(reply)) == reply


async def test_a_reply_that_comes_before_the_whole_request_is_passed_on(
    ends: Ends,
) -> None:
    """Then no other request follows: where it would begin is not known."""
    ends.user[1].write(POST + b"bo")
    relaying = asyncio.create_task(ends.relay())
    assert await ends.agent[0].readexactly(len(POST) + 2) == POST + b"bo"
    ends.agent[1].write(OK)
    assert await ends.user[0].readexactly(len(OK)) == OK
    assert await ends.user[0].read() == b"", "the client was not let go"
    ends.user[1].write_eof()
    assert not await relaying


async def test_an_upstream_that_closes_without_a_reply_is_reported(ends: Ends) -> None:
    """What is sent instead is for the edge to say."""
    ends.user[1].write(ASK)
    ends.agent[1].transport.abort()
    with pytest.raises(UpstreamClosed):
        await ends.relay()


async def test_a_reply_that_breaks_off_does_not_pass_for_whole(ends: Ends) -> None:
    """The edge must cut the client's connection then."""
    ends.user[1].write(ASK)
    ends.agent[1].write(CHUNKED + b"3\r\non")
    ends.agent[1].write_eof()
    with pytest.raises(EOFError):
        await ends.relay()


@pytest.mark.parametrize("is_rude", [True, False])
async def test_the_agent_hears_of_a_client_that_leaves(
    ends: Ends, is_rude: bool
) -> None:
    """In the middle of a stream, or before it begins."""
    ends.user[1].write(ASK)
    relaying = asyncio.create_task(ends.relay())
    assert await ends.agent[0].readexactly(len(ASK)) == ASK
    if is_rude:
        ends.user[1].transport.abort()
    else:
        ends.user[1].close()
    async with asyncio.timeout(scaled(5)):
        with contextlib.suppress(ConnectionResetError):
            assert await ends.agent[0].read() == b""
    ends.agent[1].close()
    with pytest.raises((UpstreamClosed, OSError)):
        await relaying


async def test_an_answer_of_the_edge_takes_the_requests_body_along(ends: Ends) -> None:
    """The next request of the connection begins where it does."""
    ends.user[1].write(POST + b"body" + ASK)
    head = await ends.client.reader.head()
    assert head is not None
    assert await ends.client.answer(head, OK)
    following = await ends.client.reader.head()
    assert isinstance(following, Head)
    assert following.raw == ASK
    assert await ends.user[0].readexactly(len(OK)) == OK
