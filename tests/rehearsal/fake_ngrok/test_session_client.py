"""The stand-in agent's session, as it is lost and found."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator

import pytest

from spicy_avocado_magic.rehearsal.fake_ngrok.edge import FakeNgrok
from spicy_avocado_magic.rehearsal.fake_ngrok.session_client import (
    EdgeRejected,
    EdgeSession,
    host_and_port,
    log,
)
from spicy_avocado_magic.rehearsal.fake_ngrok.session_protocol import (
    read_message,
    write_message,
)
from tests.machine_speed import scaled

TOKEN = "2abcdefghijklmnopqrstuvwxyz_0123456789"


@pytest.fixture
async def edge() -> AsyncIterator[FakeNgrok]:
    """Give an edge that ends with the test."""
    edge = FakeNgrok()
    yield edge
    await edge.close()


async def _until_online(link: EdgeSession, *, is_online: bool = True) -> None:
    async with asyncio.timeout(scaled(5)):
        while link.is_online is not is_online:  # noqa: ASYNC110  (it has no event)
            await asyncio.sleep(0.01)


async def test_a_refused_token_ends_the_link(edge: FakeNgrok) -> None:
    """No reconnect repairs a token."""
    with pytest.raises(EdgeRejected, match="ERR_NGROK_107"):
        await EdgeSession("revoked_" + TOKEN, await edge.start()).stay_connected()


async def test_nothing_is_asked_without_a_session() -> None:
    """A request before the session is refused, not kept waiting."""
    with pytest.raises(EdgeRejected, match="not established"):
        await EdgeSession(TOKEN, "127.0.0.1:9").ask({"bind": ""})


async def test_what_is_asked_while_the_session_ends_is_refused() -> None:
    """A caller of the local API is not left hanging."""

    async def edge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        write_message(writer, {"ok": True})
        await read_message(reader)
        writer.close()

    server = await asyncio.start_server(edge, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = EdgeSession(TOKEN, f"127.0.0.1:{port}")
    staying = asyncio.create_task(link.stay_connected())
    await _until_online(link)
    with pytest.raises(EdgeRejected, match="session has ended"):
        async with asyncio.timeout(scaled(2)):
            await link.ask({"bind": ""})
    staying.cancel()
    server.close()


async def test_it_comes_back_after_an_outage_and_claims_its_endpoints(
    edge: FakeNgrok, capsys: pytest.CaptureFixture[str]
) -> None:
    """The edge may go and return on its port; the URL stays."""
    address = await edge.start()
    link = EdgeSession(TOKEN, address)
    staying = asyncio.create_task(link.stay_connected())
    await _until_online(link)
    endpoint = {
        "asked": "a.ngrok.app",
        "pooling_enabled": False,
        "upstream": {"url": "http://127.0.0.1:9"},
    }
    await link.claim(endpoint)
    url = endpoint["url"]
    link.endpoints["a"] = endpoint
    await edge.close()
    await _until_online(link, is_online=False)
    await edge.start(port=host_and_port(address, 0)[1])
    await _until_online(link)
    other = {**endpoint, "pooling_enabled": True}
    with pytest.raises(EdgeRejected, match="ERR_NGROK_334"):
        await link.claim(other)
    assert endpoint["url"] == url
    staying.cancel()
    message = capsys.readouterr().out
    order = ["session established", "starting reconnect loop", "session established"]
    assert message.index(order[0]) < message.index(order[1]) < message.rindex(order[2])


def test_a_log_line_reads_back_as_it_was_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Spaces, quotes and line ends stay within one logfmt value."""
    log("eror", "it is over", err='a "b"\r\nc', empty="", document=7)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    pairs = dict(item.split("=", 1) for item in shlex.split(line))
    assert pairs["msg"] == "it is over"
    assert pairs["err"] == r'a "b"\r\nc'
    assert (pairs["empty"], pairs["document"]) == ("", "7")


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1:80/", ("127.0.0.1", 80)),
        ("localhost:7", ("localhost", 7)),
        ("", ("127.0.0.1", 443)),
        ("example.org", ("example.org", 443)),
    ],
)
def test_addresses_are_read_in_all_their_forms(
    address: str, expected: tuple[str, int]
) -> None:
    """A URL, ``host:port``, a host, or nothing."""
    assert host_and_port(address, 443) == expected
