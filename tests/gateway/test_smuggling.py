"""Requests hidden in others: what two readers could frame in two ways ends here."""

from __future__ import annotations

import itertools
import logging
import re

import pytest

from .conftest import KEY, Engine, Front, Open, bounds, exchange

CHAT = b'{"model":"tiny"}'
CHUNKED = b"10\r\n" + CHAT + b"\r\n0\r\n\r\n"
HOST = b"Host: localhost\r\n"
AUTH = HOST + b"x-api-key: " + KEY.encode() + b"\r\n"
INNER = b"GET /api/status HTTP/1.1\r\n" + AUTH + b"\r\n"
"""With the right key, so that nothing but framing keeps it from the engine."""
CL = b"Content-Length: 16"
TE = b"Transfer-Encoding: chunked"


def post(*headers: bytes, body: bytes = CHAT, version: bytes = b"1.1") -> bytes:
    """Return a call with the right key."""
    head = b"".join(header + b"\r\n" for header in headers)
    return b"POST /api/chat HTTP/" + version + b"\r\n" + AUTH + head + b"\r\n" + body


def chunked(body: bytes) -> bytes:
    """Return a call with these chunks."""
    return post(TE, body=body)


_LENGTHS = (
    b"16",
    b"0",
    b"4",
    b"016",
    b"+16",
    b"-16",
    b"-0",
    b"0x10",
    b"1_6",
    b"16.0",
    b"1e1",
    b"16, 16",
    b"16,0",
    b"16;",
    b"",
    b"a",
    b"\xd9\xa1\xd9\xa6",
    b"18446744073709551632",
    b"9" * 4000,
)
_CODINGS = (
    b"chunked",
    b"Chunked",
    b"identity",
    b"xchunked",
    b"chunkedx",
    b"chunked, chunked",
    b"chunked, identity",
    b"identity, chunked",
    b"gzip, chunked",
    b"gzip",
    b"chunked;x",
    b'"chunked"',
    b"chunked\x0b",
    b"\x0bchunked",
    b"chunked,",
    b",chunked",
    b"",
    b"chun\r\n ked",
)
_TE_NAME = b"Transfer-Encoding: "
_PAIRS = {
    f"{a!r} and {b!r}": post(a, b, body=body + INNER)
    for lines in ((CL, TE), (b"Content-Length: 0", TE), (CL, _TE_NAME + b"identity"))
    for a, b in itertools.permutations(lines)
    for body in (CHAT, CHUNKED)
}
REFUSED = {
    **_PAIRS,
    **{
        f"length {value[:20]!r}": post(b"Content-Length: " + value, body=CHAT + INNER)
        for value in _LENGTHS[4:]
    },
    **{
        f"lengths 16 and {value[:20]!r}": post(
            CL, b"Content-Length: " + value, body=CHAT + INNER
        )
        for value in _LENGTHS
    },
    **{
        f"coding {value!r}": post(_TE_NAME + value, body=CHUNKED + INNER)
        for value in _CODINGS[2:]
    },
    **{
        f"chunked and {value!r}": post(TE, _TE_NAME + value, body=CHUNKED + INNER)
        for value in _CODINGS
    },
    "chunks in HTTP/1.0": post(TE, body=CHUNKED + INNER, version=b"1.0"),
    "chunks in HTTP/1.0, kept open": post(
        TE, b"Connection: keep-alive", body=CHUNKED + INNER, version=b"1.0"
    ),
    "space before the colon": post(CL, b"Transfer-Encoding : chunked", body=CHUNKED),
    "tab before the colon": post(CL, b"Transfer-Encoding\t: chunked", body=CHUNKED),
    "folded": post(CL, b"X: y", b" z", body=CHAT + INNER),
    "folded by a tab": post(CL, b"X: y", b"\tz", body=CHAT + INNER),
    "folded length": post(b"Content-Length:", b" 16", body=CHAT + INNER),
    "first header folded": post(CL).replace(b"1.1\r\n", b"1.1\r\n x\r\n", 1) + INNER,
    "no colon": post(CL, b"X", body=CHAT + INNER),
    "no name": post(CL, b": x", body=CHAT + INNER),
    "a name with a space": post(CL, b"X y: z", body=CHAT + INNER),
    "a name beyond ASCII": post(CL, b"\xc3\xa9: z", body=CHAT + INNER),
    "a name with a nul": post(CL, b"X\0: z", body=CHAT + INNER),
    "a value with a nul": post(CL, b"X: y\0z", body=CHAT + INNER),
    "a bare carriage return": post(CL, b"X: y\rTransfer-Encoding: chunked") + INNER,
    "a bare line feed": post(CL, b"X: y\nZ: x", body=CHAT + INNER),
    "bare line feeds": post(CL).replace(b"\r\n", b"\n") + INNER,
    "a bare line feed at the end": post(CL).replace(b"\r\n\r\n", b"\r\n\n") + INNER,
    "two hosts": post(CL, b"Host: localhost", body=CHAT + INNER),
    "two hosts that differ": post(CL, b"Host: evil.example", body=CHAT + INNER),
    "no host": post(CL).replace(HOST, b"", 1) + INNER,
    "an empty host": post(CL).replace(HOST, b"Host:\r\n", 1) + INNER,
    "no version": b"GET /api/status\r\n" + AUTH + b"\r\n" + INNER,
    "no head": b"GET /api/status\r\n\r\n" + INNER,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + INNER,
    "HTTP/2.0 as a version": post(CL, version=b"2.0") + INNER,
    "HTTP/1.2": post(CL, version=b"1.2") + INNER,
    "HTTP/0.9": post(CL, version=b"0.9") + INNER,
    "HTTP/11": post(CL, version=b"11") + INNER,
    "lower case": post(CL).replace(b"HTTP/", b"http/") + INNER,
    "a space behind the version": post(CL, version=b"1.1 ") + INNER,
    "a tab": post(CL).replace(b"POST ", b"POST\t") + INNER,
    "a space before": b" " + post(CL) + INNER,
    "a nul in the target": post(CL).replace(b"/api/chat", b"/api/chat\0") + INNER,
    "a return in the target": post(CL).replace(b"/api/chat", b"/api\r/chat") + INNER,
    "a space in the target": post(CL).replace(b"/api/chat", b"/api/chat x") + INNER,
    "an absolute target": post(CL).replace(b"/api/chat", b"http://localhost/api/chat"),
    "a foreign target": post(CL).replace(b"/api/chat", b"http://evil/api/chat"),
    "an authority": post(CL).replace(b"/api/chat", b"localhost:11434"),
    "a tunnel": b"CONNECT localhost:11434 HTTP/1.1\r\n" + AUTH + b"\r\n" + INNER,
    "an asterisk": post(CL).replace(b"/api/chat", b"*"),
    "a long target": post(CL).replace(b"/api/chat", b"/" + b"a" * 20_000) + INNER,
    "a long header": post(CL, b"X: " + b"a" * 20_000) + INNER,
    "an upgrade": post(CL, b"Connection: Upgrade", b"Upgrade: h2c", body=CHAT + INNER),
}
BROKEN_CHUNKS = {
    "no size": b"\r\n",
    "a space before the size": b" 10\r\n" + CHAT + b"\r\n0\r\n\r\n",
    "a size with 0x": b"0x10\r\n" + CHAT + b"\r\n0\r\n\r\n",
    "a size with a plus": b"+10\r\n" + CHAT + b"\r\n0\r\n\r\n",
    "a negative size": b"-10\r\n" + CHAT + b"\r\n0\r\n\r\n",
    "a size with an underscore": b"1_0\r\n" + CHAT + b"\r\n0\r\n\r\n",
    "a size with garbage": b"10xyz\r\n" + CHAT + b"\r\n0\r\n\r\n",
    "a size that overflows": b"1" + b"0" * 16 + b"10\r\n" + CHAT + b"\r\n0\r\n\r\n",
    "a size in other digits": b"\xd9\xa1\r\n" + CHAT + b"\r\n0\r\n\r\n",
    "a bare line feed behind the size": b"10\n" + CHAT + b"\r\n0\r\n\r\n",
    "a bare line feed in an extension": b"10;a\nb\r\n" + CHAT + b"\r\n0\r\n\r\n",
    "a bare return in an extension": b"10;a\rb\r\n" + CHAT + b"\r\n0\r\n\r\n",
    "a nul in an extension": b"10;a\0\r\n" + CHAT + b"\r\n0\r\n\r\n",
    "no end of the chunk": b"10\r\n" + CHAT + b"0\r\n\r\n",
    "a bare line feed behind the chunk": b"10\r\n" + CHAT + b"\n0\r\n\r\n",
    "other bytes behind the chunk": b"10\r\n" + CHAT + b"xx0\r\n\r\n",
    "too small a size": b"f\r\n" + CHAT + b"\r\n0\r\n\r\n",
    "a bare line feed at the end": b"10\r\n" + CHAT + b"\r\n0\n\n",
    "a second host behind": b"10\r\n" + CHAT + b"\r\n0\r\nHost: evil\r\n\r\n",
    "a trailer that is none": b"10\r\n" + CHAT + b"\r\n0\r\nx\r\n\r\n",
}
CLEAN = {
    "a length": post(CL),
    "a length with a zero before": post(b"Content-Length: 016"),
    "white space around the length": post(b"Content-Length: \t 16 \t "),
    "chunks": post(TE, body=CHUNKED),
    "chunks in other letters": post(b"tRANSFER-eNCODING: Chunked", body=CHUNKED),
    "a tab before the coding": post(b"Transfer-Encoding:\tchunked", body=CHUNKED),
    "an extension": chunked(b'10;a=b;c="d"\r\n' + CHAT + b"\r\n0;x\r\n\r\n"),
    "many zeros": chunked(b"00010\r\n" + CHAT + b"\r\n000\r\n\r\n"),
    "two chunks": chunked(b"1\r\n{\r\nF\r\n" + CHAT[1:] + b"\r\n0\r\n\r\n"),
    "a trailer": chunked(b"10\r\n" + CHAT + b"\r\n0\r\nX: y\r\n\r\n"),
    "an underscore": post(CL, b"Transfer_Encoding: chunked"),
    "empty lines before": b"\r\n\r\n" + post(CL),
    "two spaces": post(CL).replace(b"POST ", b"POST  "),
    "HTTP/1.0": post(CL, version=b"1.0"),
}


def answers(received: bytes) -> list[bytes]:
    """Return the status of each answer."""
    return re.findall(rb"HTTP/1\.[01] ([0-9]{3}) ", received)


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
async def test_a_request_that_could_be_read_in_two_ways_is_the_last(
    front: Front, engine: Engine, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """It is refused, and what follows on its connection is no request to anybody."""
    with caplog.at_level(logging.DEBUG):
        received = await exchange(front.port, raw)
    assert not engine.seen, f"the engine saw {engine.seen}"
    answer = answers(received)
    assert len(answer) == 1, f"answered with {answer}"
    assert answer[0].startswith(b"4"), f"answered with {answer}"
    assert b"aiohttp" not in received, "the library names itself"
    assert KEY not in caplog.text, "a raw request was logged"


@pytest.mark.parametrize("body", BROKEN_CHUNKS.values(), ids=BROKEN_CHUNKS)
async def test_chunks_that_are_none_end_the_connection(
    open_gateway: Open, engine: Engine, body: bytes
) -> None:
    """The request is refused, and what is behind it stays unread."""
    front = await open_gateway(limits=bounds(body_wait_s=0.1))
    received = await exchange(front.port, chunked(body + INNER))
    assert not engine.seen, f"the engine saw {engine.seen}"
    answer = answers(received)
    assert len(answer) == 1, f"answered with {answer}"
    assert answer[0] in {b"400", b"408"}, f"answered with {answer}"


@pytest.mark.parametrize("raw", CLEAN.values(), ids=CLEAN)
async def test_what_can_be_read_in_one_way_only_arrives(
    front: Front, engine: Engine, raw: bytes
) -> None:
    """The engine sees it in our own framing, and then what comes behind it."""
    last = INNER.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    is_last = b"HTTP/1.0\r\n" in raw  # it ends a connection unless asked not to
    received = await exchange(front.port, raw if is_last else raw + last)
    requests = [(seen.method, seen.target, seen.body) for seen in engine.seen]
    chat, status = ("POST", "/api/chat", CHAT), ("GET", "/api/status", b"")
    expected = [chat] if is_last else [chat, status]
    assert requests == expected, f"the engine saw {requests}, {received!r}"
    assert engine.seen[0].headers.getall("Content-Length") == ["16"]
    assert "Transfer-Encoding" not in engine.seen[0].headers, "framed in two ways"
    assert answers(received) == [b"200"] * len(expected)


UNAUTHENTICATED = {
    "no key": b"POST /api/chat HTTP/1.1\r\n" + HOST + CL + b"\r\n\r\n" + CHAT,
    "no key, nor the body": b"POST /api/chat HTTP/1.1\r\n" + HOST + CL + b"\r\n\r\n",
    "a wrong key": b"GET /api/tags HTTP/1.1\r\n" + HOST + b"x-api-key: x\r\n\r\n",
    "no such path": b"GET /api/me HTTP/1.1\r\n" + HOST + b"\r\n",
    "another method": b"PUT / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a foreign host": b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "a page": b"GET / HTTP/1.1\r\nOrigin: https://evil.example\r\n" + HOST + b"\r\n",
}


@pytest.mark.parametrize("raw", UNAUTHENTICATED.values(), ids=UNAUTHENTICATED)
async def test_nothing_is_read_after_an_unauthenticated_request_was_refused(
    front: Front, engine: Engine, raw: bytes
) -> None:
    """Not even what needs no key: its body may be what looks like a request."""
    open_too = b"GET /api/version HTTP/1.1\r\n" + HOST + b"\r\n"
    received = await exchange(front.port, raw + INNER + open_too)
    assert not engine.seen, f"the engine saw {engine.seen}"
    assert len(answers(received)) == 1, received


async def test_requests_in_one_packet_are_asked_one_by_one(
    front: Front, engine: Engine
) -> None:
    """A key opens for its own request only, not for those beside it."""
    bare = b"GET /api/tags HTTP/1.1\r\n" + HOST + b"\r\n"
    version = b"GET /api/version HTTP/1.1\r\n" + HOST + b"\r\n"
    received = await exchange(front.port, version + INNER + bare + INNER)
    assert answers(received) == [b"200", b"200", b"401"], received
    assert [seen.target for seen in engine.seen] == ["/api/version", "/api/status"]


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_the_body_of_a_reading_request_is_nobodys_request(
    front: Front, engine: Engine, method: bytes
) -> None:
    """It is read past, by its own framing."""
    for framing, body in (
        (b"Content-Length: %d" % len(INNER), INNER),
        (TE, b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER)),
    ):
        engine.seen.clear()
        head = method + b" /api/version HTTP/1.1\r\n" + AUTH + framing + b"\r\n\r\n"
        end = b"GET / HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n"
        await exchange(front.port, head + body + end)
        targets = {(seen.target, seen.body) for seen in engine.seen}
        assert targets <= {("/api/version", b""), ("/", b"")}, f"it saw {targets}"
