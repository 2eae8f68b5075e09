"""Canaries for the undocumented parts of aiohttp that the gateway relies on.

One that fails names the use that has to change. ``pyproject.toml`` bounds aiohttp to
the versions with which these tests were run.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import cast

import aiohttp
import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import StreamWriter

from spicy_avocado_magic.gateway.server import HttpServer
from spicy_avocado_magic.gateway.streaming import write_without_drain
from spicy_avocado_magic.gateway.upstream_client import UpstreamConnection

from .conftest import bounds, exchange, until

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
VERSION = tuple(int(part) for part in aiohttp.__version__.split(".")[:2])


@pytest.mark.parametrize(
    ("owner", "name", "use"),
    [
        (web.RequestHandler, "_waiter", "Connection.data_received: headers are due"),
        (web.RequestHandler, "_messages", "Connection: requests not yet handled"),
        (web.RequestHandler, "_lingering_time", "Connection.mark_authenticated"),
        (web.RequestHandler, "_loop", "Connection: its clock"),
        (web.RequestHandler, "force_close", "Connection.abort"),
        (web.RequestHandler, "handle_error", "Connection.handle_error overrides it"),
        (web.RequestHandler, "log_exception", "Connection.log_exception overrides it"),
        (web.BaseRequest, "_prepare_hook", "extra headers of HttpServer"),
        (web.Server, "pre_shutdown", "HttpServer.stop"),
        (web.Server, "connections", "HttpServer.stop"),
        (ResponseHandler, "is_connected", "UpstreamClient: reuse of connections"),
        (ResponseHandler, "should_close", "UpstreamClient: reuse of connections"),
        (ResponseHandler, "set_exception", "UpstreamClient: a body that fails"),
        (StreamWriter, "write_headers", "UpstreamClient.request"),
        (StreamWriter, "enable_chunking", "UpstreamClient.request"),
        (StreamWriter, "set_eof", "UpstreamClient.request: no task for a small body"),
        (StreamReader, "read_nowait", "BodyStreamer and read_body"),
        (StreamReader, "total_bytes", "send_response: has the body begun?"),
        (StreamReader, "on_eof", "UpstreamClient: reuse of connections"),
    ],
)
def test_aiohttp_still_has(owner: type, name: str, use: str) -> None:
    """Each of these names is used, and none is in aiohttp's documentation."""
    has = hasattr(owner, name) or name in inspect.getsource(owner)
    assert has, f"aiohttp {aiohttp.__version__} has no {owner.__name__}.{name}: {use}"


def test_the_parser_of_responses_takes_our_parameters() -> None:
    """``UpstreamClient.request`` passes them."""
    known = inspect.signature(ResponseHandler.set_response_params).parameters
    used = {"skip_payload", "read_until_eof", "auto_decompress", "read_bufsize"}
    assert used <= set(known), f"gone: {used - set(known)}"


async def test_a_connection_has_a_waiter_only_while_headers_are_due() -> None:
    """``Connection.data_received`` distinguishes headers from bodies by it."""
    go = asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        await go.wait()
        return web.Response(text="done")

    server, loop = web.Server(handler), asyncio.get_running_loop()
    made: list[web.RequestHandler] = []

    def connect() -> web.RequestHandler:
        made.append(web.RequestHandler(server, loop=loop, lingering_time=3.0))
        return made[-1]

    listening = await loop.create_server(connect, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await until(lambda: made and made[0]._waiter is not None)
    assert made[0]._lingering_time == 3.0, "the parameter has another name"
    writer.write(GET + b"\r\n")
    await until(lambda: made[0]._waiter is None)
    writer.write(GET + b"Connection: close\r\n\r\n")
    await until(lambda: len(made[0]._messages) == 1)
    go.set()
    assert (await reader.read()).count(b"200 OK") == 2
    writer.close()
    listening.close()


async def test_the_prepare_hook_adds_headers_to_every_response() -> None:
    """Also to aiohttp's own response to malformed HTTP."""

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="done")

    server = HttpServer(handler, bounds(), lambda: {"X-Extra": "yes"})
    port = await server.start(0)
    for sent in (GET + b"Connection: close\r\n\r\n", b"no HTTP\r\n\r\n"):
        answer = await exchange(port, sent)
        assert b"X-Extra: yes" in answer, f"_prepare_hook was not called: {answer!r}"
    await server.stop(0)


@pytest.mark.skipif(VERSION < (3, 12), reason="3.12 joins headers and first bytes")
def test_headers_can_wait_for_the_first_bytes() -> None:
    """Without the switch, each stream costs a segment more."""
    assert web.StreamResponse._send_headers_immediately is True, (
        "_HeadersWithFirstBytes has no effect any more"
    )


class _Transport:
    def __init__(self) -> None:
        self.sent = b""

    def get_extra_info(self, name: str) -> None:
        """Have no socket."""

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.sent += data

    def writelines(self, lines: list[bytes]) -> None:
        self.sent += b"".join(lines)


async def test_a_write_without_drain_ends_at_its_first_step() -> None:
    """``write_without_drain`` steps the coroutine by hand."""
    loop = asyncio.get_running_loop()
    protocol, transport = BaseProtocol(loop), _Transport()
    protocol.transport = cast("asyncio.Transport", transport)
    writer = StreamWriter(protocol, loop)
    writer.enable_chunking()
    write_without_drain(writer, b"hello")
    assert transport.sent == b"5\r\nhello\r\n"
    assert writer.output_size == len(transport.sent), "bytes are counted otherwise"


async def test_a_response_is_parsed_without_a_session() -> None:
    """``UpstreamConnection`` is fed by a transport alone."""
    loop = asyncio.get_running_loop()
    connection = UpstreamConnection(loop)
    connection.connection_made(cast("asyncio.Transport", _Transport()))
    connection.set_response_params(
        skip_payload=False, read_until_eof=True, auto_decompress=False
    )
    progress: list[int] = []
    ended: list[bool] = []
    connection.on_progress = lambda: progress.append(1)
    connection.data_received(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    )
    message, content = await connection.read()
    content.on_eof(lambda: ended.append(True))
    assert (message.code, content.read_nowait(), progress) == (200, b"hello", [1])
    assert not content.is_eof(), "the body counts as complete"
    connection.data_received(b"0\r\n\r\n")
    assert content.is_eof(), "the end was not parsed at once"
    assert ended == [True], "the connection would never be reused"
