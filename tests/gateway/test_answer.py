"""Answers that end before their end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from aiohttp import web

from spicy_avocado_magic.keys import NamedKey

from .conftest import OWNER, Engine, Open

ANN = NamedKey(name="ann", secret="anns-key-0123456789")


@pytest.mark.parametrize(
    ("path", "kind", "first", "last"),
    [
        (
            "/v1/chat/completions",
            "text/event-stream",
            b'data: {"a": 1}\n\n',
            (
                b'data: {"error": {"message": "This key is no longer good.", '
                b'"type": "invalid_request_error", "param": null, '
                b'"code": "invalid_api_key"}}\n\n'
            ),
        ),
        (
            "/v1/messages",
            "text/event-stream",
            b'event: a\ndata: {"a": 1}\n\n',
            (
                b'event: error\ndata: {"type": "error", "error": '
                b'{"type": "authentication_error", '
                b'"message": "This key is no longer good."}}\n\n'
            ),
        ),
        (
            "/api/chat",
            "application/x-ndjson",
            b'{"a": 1}\n',
            b'{"error": "This key is no longer good."}\n',
        ),
        ("/v1/chat/completions", "text/event-stream", b'data: {"a":', b""),
        ("/api/chat", "application/json", b'{"a": 1}\n', b""),
    ],
    ids=["openai", "anthropic", "native", "in the middle of an event", "no stream"],
)
async def test_a_stream_that_is_ended_says_why_in_its_own_dialect(
    open_gateway: Open, engine: Engine, path: str, kind: str, first: bytes, last: bytes
) -> None:
    """As its last event, where one can stand; it never looks as if it were whole."""

    async def stream(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        await response.write(first)
        await asyncio.Event().wait()
        return response

    engine.reply = stream
    front = await open_gateway(replace(OWNER, named=(ANN,)))
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    body = b'{"model": "tiny", "stream": true}'
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {ANN.secret}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    async with asyncio.timeout(5):
        await reader.readuntil(first)
        front.gateway.access = OWNER
        rest = await reader.read()
    writer.close()
    assert last in rest, rest
    if not last:
        assert rest.strip() == b"", f"something was said where nothing can be: {rest!r}"
    assert not rest.endswith(b"0\r\n\r\n"), "the stream looks complete"
