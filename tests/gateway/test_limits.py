"""The bounds of what a caller may make the gateway hold."""

from __future__ import annotations

import asyncio
import io
import json
import time

import pytest

from .conftest import KEY, WITH_KEY, Engine, Open, bounds, exchange


@pytest.mark.parametrize(
    "framing", ["Content-Length: 2000", "Transfer-Encoding: chunked"]
)
async def test_a_body_beyond_the_cap_is_refused(
    open_gateway: Open, engine: Engine, framing: str
) -> None:
    """413 in the caller's dialect, and the engine hears nothing."""
    front = await open_gateway(limits=bounds(body_bytes=1000))
    body = b'{"model":"tiny","prompt":"' + b"x" * 1972 + b'"}'
    if "chunked" in framing:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    head = (
        f"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
        f"Connection: close\r\n{framing}\r\n\r\n"
    )
    answer = await exchange(front.port, head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 413 "), answer
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert error["type"] == "request_too_large"
    assert not engine.seen, "a body beyond the cap went on"


async def test_a_body_that_is_announced_beyond_the_cap_is_not_read(
    open_gateway: Open,
) -> None:
    """413 comes before the first byte of it."""
    front = await open_gateway(limits=bounds(body_bytes=1000))
    head = (
        f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
        "Content-Length: 1001\r\n\r\n"
    )
    answer = await exchange(front.port, head.encode(), until=b"}")
    assert answer.startswith(b"HTTP/1.1 413 "), answer


async def test_a_body_up_to_the_cap_is_taken(open_gateway: Open) -> None:
    """The cap itself is still allowed."""
    body = b'{"model":"tiny"}'
    front = await open_gateway(limits=bounds(body_bytes=len(body)))
    status, _, _ = await front.call("POST", "/api/chat", data=body, headers=WITH_KEY)
    assert status == 200


async def test_a_refused_body_is_not_waited_for(open_gateway: Open) -> None:
    """Who sends no more of a refused body loses the connection soon."""
    front = await open_gateway(limits=bounds())
    head = b"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n"
    started = time.monotonic()
    answer = await exchange(front.port, head)
    assert answer.startswith(b"HTTP/1.1 401 "), answer
    assert time.monotonic() - started < 1, "a stranger keeps a connection open"


@pytest.mark.parametrize("rest", [b"", b"zz\r\n"], ids=["silence", "broken framing"])
async def test_a_body_that_stalls_is_given_up(
    open_gateway: Open, engine: Engine, rest: bytes
) -> None:
    """Neither silence nor a chunk that is none holds a request for ever."""
    front = await open_gateway(limits=bounds(body_wait_s=0.1))
    head = (
        f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
        "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
    writer.write(head.encode())
    await reader.readuntil(b"\r\n\r\n")
    writer.write(rest)
    async with asyncio.timeout(2):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 408 "), answer
    assert not engine.seen, "half a body went on"


async def test_a_large_body_arrives_whole(open_gateway: Open, engine: Engine) -> None:
    """Images make bodies of many megabytes; they are written in pieces."""
    front = await open_gateway()
    sent = {"model": "tiny", "images": ["a" * 3 * 2**20]}
    body = io.BytesIO(json.dumps(sent).encode())
    status, _, _ = await front.call("POST", "/api/chat", data=body, headers=WITH_KEY)
    assert status == 200
    assert json.loads(engine.seen[0].body) == sent, "it differs"
    assert front.gateway.places.held_bytes == 0, "its memory is still counted"


async def test_what_a_body_becomes_is_counted_too(open_gateway: Open) -> None:
    """Half a surrogate pair makes escapes of all that is not ASCII: three times it."""
    body = '{"model":"tiny","x":"\\ud800' + "\u00e9" * 1000 + '"}'
    front = await open_gateway(limits=bounds(bodies_bytes=4000))
    status, _, _ = await front.call(
        "POST", "/api/chat", data=body.encode(), headers=WITH_KEY
    )
    assert status == 429, "three times the memory was taken"
