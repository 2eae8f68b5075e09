"""The stand-in service, spoken to in its own words."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from spicy_avocado_magic.rehearsal.fake_ngrok.edge import FakeNgrok
from spicy_avocado_magic.rehearsal.fake_ngrok.session_protocol import (
    Stream,
    read_message,
    write_message,
)
from tests.machine_speed import scaled

REQUEST = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nquestion"
TOKEN = "2abcdefghijklmnopqrstuvwxyz_0123456789"


@pytest.fixture
async def edge() -> AsyncIterator[FakeNgrok]:
    """Give an edge that ends with the test."""
    edge = FakeNgrok()
    yield edge
    await edge.close()


@contextlib.asynccontextmanager
async def _dialled(address: str) -> AsyncIterator[Stream]:
    host, _, port = address.rpartition("://")[2].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def _session(
    address: str, bind: str = "", *, pool: bool = False
) -> AsyncIterator[tuple[Stream, str]]:
    """Join as an agent with one endpoint; give the session and the public URL."""
    async with _dialled(address) as (reader, writer):
        write_message(writer, {"token": TOKEN})
        assert await read_message(reader) == {"ok": True}
        write_message(writer, {"id": 1, "bind": bind, "pool": pool})
        reply = await read_message(reader)
        assert reply is not None
        yield (reader, writer), str(reply.get("url") or reply["error"])


async def _status(url: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data="x") as expected,
    ):
        return expected.status, expected.headers.get("Ngrok-Error-Code", "")


async def _until_offline(url: str) -> None:
    async with asyncio.timeout(scaled(2)):
        while await _status(url) != (404, "ERR_NGROK_3200"):
            pass  # each request lets the edge go on


async def test_a_refused_agent_gets_the_reason_and_is_disconnected(
    edge: FakeNgrok,
) -> None:
    """A refusal ends the session's connection."""
    async with _dialled(await edge.start()) as (reader, writer):
        write_message(writer, {"token": "short"})
        expected = await read_message(reader)
        assert expected is not None
        assert "ERR_NGROK_105" in expected["error"]
        assert await read_message(reader) is None


async def test_sessions_are_counted_by_token_and_freed_when_they_end(
    edge: FakeNgrok,
) -> None:
    """The limit holds for what is connected now."""
    edge.max_sessions = 1
    address = await edge.start()
    async with _session(address), _dialled(address) as (reader, writer):
        write_message(writer, {"token": TOKEN})
        expected = await read_message(reader)
        assert expected is not None
        assert "ERR_NGROK_108" in expected["error"]
        edge.drop_sessions()
    await asyncio.sleep(0.01)
    async with _session(address) as (_, url):
        assert url.startswith("http://127.0.0.1:")


async def test_an_account_without_a_domain_keeps_one_url(edge: FakeNgrok) -> None:
    """The URL is the account's own, and outlives its agents."""
    address = await edge.start()
    async with _session(address) as (_, first):
        pass
    await _until_offline(first)
    async with _session(address) as (_, second):
        assert second == first
    async with _session(address, "https://Other.ngrok.app/") as (_, other):
        assert other != first


async def test_a_url_goes_with_the_endpoint_that_is_given_back(edge: FakeNgrok) -> None:
    """``unbind`` takes a URL offline while the agent stays."""
    async with _session(await edge.start()) as ((reader, writer), url):
        write_message(writer, {"id": 2, "unbind": ""})
        assert await read_message(reader) == {"id": 2}
        assert await _status(url) == (404, "ERR_NGROK_3200")


async def test_giving_back_what_was_never_had_is_no_matter(edge: FakeNgrok) -> None:
    """An unknown ``unbind`` does not end the session."""
    async with _session(await edge.start()) as ((reader, writer), _url):
        write_message(writer, {"id": 2, "unbind": "https://never.ngrok.app"})
        assert await read_message(reader) == {"id": 2}


@pytest.mark.parametrize(
    ("first", "second", "is_shared"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
async def test_a_url_is_shared_only_if_both_pool(
    edge: FakeNgrok, first: bool, second: bool, is_shared: bool
) -> None:
    """Otherwise the one who comes second is refused with 334."""
    address = await edge.start()
    async with (
        _session(address, "a.ngrok.app", pool=first) as (_, url),
        _session(address, "a.ngrok.app", pool=second) as (_, other),
    ):
        assert (other == url) is is_shared
        assert ("ERR_NGROK_334" in other) is not is_shared


async def test_an_account_whose_plan_does_not_pool_is_refused(edge: FakeNgrok) -> None:
    """Its name says so; without pooling it is served."""
    address = await edge.start()
    async with _dialled(address) as (reader, writer):
        write_message(writer, {"token": "unpooled_" + TOKEN})
        assert await read_message(reader) == {"ok": True}
        for number, pool, response in (
            (1, True, "ERR_NGROK_18019"),
            (2, False, "http://"),
        ):
            write_message(writer, {"id": number, "bind": "a.ngrok.app", "pool": pool})
            expected = await read_message(reader)
            assert response in str(expected)


async def test_bytes_pass_with_half_closed_connections(edge: FakeNgrok) -> None:
    """A client may end its request side and still read the answer."""
    address = await edge.start()
    async with (
        _session(address) as ((reader, _writer), url),
        _dialled(url) as client,
    ):
        client[1].write(REQUEST)
        client[1].write_eof()
        message = await read_message(reader)
        assert message is not None
        assert message["url"] == url
        async with _dialled(address) as data:
            write_message(data[1], {"data": message["open"]})
            assert await data[0].read() == REQUEST
            data[1].write(b"HTTP/1.1 200 OK\r\n\r\nanswer")
            data[1].write_eof()
            assert (await client[0].read()).endswith(b"answer")


async def test_an_upstream_that_is_down_is_error_8012(edge: FakeNgrok) -> None:
    """The agent's reason is in the edge's answer."""
    address = await edge.start()
    async with _session(address) as ((reader, _writer), url):
        asking = asyncio.create_task(_status(url))
        message = await read_message(reader)
        assert message is not None
        async with _dialled(address) as data:
            write_message(data[1], {"data": message["open"], "error": "refused"})
            assert await asking == (502, "ERR_NGROK_8012")


@pytest.mark.parametrize(
    ("reply", "seen"),
    [
        (b"", b"ERR_NGROK_3004"),
        (b"no HTTP\r\n", b"ERR_NGROK_3004"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart", b"part"),
    ],
)
async def test_a_broken_reply_is_an_error_or_is_cut_off(
    edge: FakeNgrok, reply: bytes, seen: bytes
) -> None:
    """It is an error of the edge before anything was sent; later the stream is cut."""
    address = await edge.start()
    async with (
        _session(address) as ((reader, _writer), url),
        _dialled(url) as client,
    ):
        client[1].write(REQUEST)
        message = await read_message(reader)
        assert message is not None
        async with _dialled(address) as data:
            write_message(data[1], {"data": message["open"]})
            await data[0].readexactly(len(REQUEST))
            data[1].write(reply)
        async with asyncio.timeout(scaled(5)):
            assert seen in await client[0].readuntil(seen)
            client[1].write_eof()
            with contextlib.suppress(ConnectionResetError):
                await client[0].read()  # ends, so the connection does


async def test_what_is_no_http_is_refused(edge: FakeNgrok) -> None:
    """The edge would not know where such a request ends."""
    async with _session(await edge.start()) as (_, url), _dialled(url) as client:
        client[1].write(b"GET / HTTP/1.1\r\nno colon\r\n\r\n")
        client[1].write_eof()
        assert (await client[0].read()).startswith(b"HTTP/1.1 400 ")


async def test_a_refusal_waits_until_the_request_has_been_sent(edge: FakeNgrok) -> None:
    """A client that is still sending gets the answer, not a reset connection."""
    async with _session(await edge.start()) as (_, url):
        pass
    async with _dialled(url) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\n\r\n")
        assert b"ERR_NGROK_3200" in await reader.read()
        writer.write(bytes(8_000_000))
        await writer.drain()
        writer.write_eof()


async def test_a_dropped_session_takes_its_connections_along(edge: FakeNgrok) -> None:
    """What an agent carried ends with it, and its URL is offline."""
    address = await edge.start()
    async with (
        _session(address) as ((reader, _writer), url),
        _dialled(url) as client,
    ):
        client[1].write(REQUEST)
        message = await read_message(reader)
        assert message is not None
        async with _dialled(address) as data:
            write_message(data[1], {"data": message["open"]})
            data[1].write(b"HTTP/1.1 200 OK\r\n\r\nbegun")
            assert (await client[0].readuntil(b"begun")).startswith(b"HTTP/1.1 200")
            edge.drop_sessions()
            with contextlib.suppress(ConnectionResetError):
                assert await client[0].read() == b""
            assert await read_message(reader) is None
        await _until_offline(url)


async def test_an_edge_that_comes_back_has_the_same_addresses(edge: FakeNgrok) -> None:
    """After an outage, control address and public URLs are where they were."""
    address = await edge.start()
    async with _session(address) as (_, url):
        await edge.close()
    with pytest.raises(aiohttp.ClientConnectorError):
        await _status(url)
    assert await edge.start(port=int(address.rpartition(":")[2])) == address
    assert await _status(url) == (404, "ERR_NGROK_3200")


@pytest.mark.parametrize("turns", range(6))
async def test_whoever_has_just_come_is_let_go_with_the_edge(
    edge: FakeNgrok, turns: int
) -> None:
    """However far the edge has come with it: no connection outlives the edge."""
    host, _, port = (await edge.start()).partition(":")
    with socket.create_connection((host, int(port))) as agent:
        agent.setblocking(False)
        for _ in range(turns):
            await asyncio.sleep(0)
        await edge.close()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(scaled(5)):
            with contextlib.suppress(ConnectionError):
                assert await loop.sock_recv(agent, 1) == b"", "the edge speaks"


async def test_a_data_connection_that_nobody_asked_for_is_closed(
    edge: FakeNgrok,
) -> None:
    """A ticket that is unknown carries nothing."""
    async with _dialled(await edge.start()) as (reader, writer):
        write_message(writer, {"data": "unknown"})
        assert await reader.read() == b""


async def test_troubles_of_an_account_can_come_and_go(edge: FakeNgrok) -> None:
    """A revoked token, names that are online elsewhere, and a quota used up."""
    address = await edge.start()
    async with _session(address) as (_, url):
        edge.quota_code = 727
        assert await _status(url) == (402, "ERR_NGROK_727")
    edge.quota_code, edge.is_occupied = 0, True
    async with _session(address) as (_, expected):
        assert "ERR_NGROK_334" in expected
    edge.is_occupied = False
    edge.revoked.add(TOKEN)
    async with _dialled(address) as (reader, writer):
        write_message(writer, {"token": TOKEN})
        refused = await read_message(reader)
        assert refused is not None
        assert "ERR_NGROK_107" in refused["error"]
