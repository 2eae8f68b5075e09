"""Where one message ends and the next begins."""

from __future__ import annotations

import asyncio

import pytest

from spicy_avocado_magic.rehearsal.fake_ngrok.http1 import Head, HttpReader

CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"3\r\nabc\r\n4;x=y\r\n\r\n\r\n\r\n0\r\nTrailer: t\r\n\r\n"
SIZED = b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n"


def reader_of(*parts: bytes) -> HttpReader:
    """Return a reader of a connection that brought these bytes and ended."""
    stream = asyncio.StreamReader()
    for part in parts:
        stream.feed_data(part)
    stream.feed_eof()
    return HttpReader(stream)


async def _whole(reader: HttpReader, *, to_end: bool = False) -> tuple[bytes, bytes]:
    head = await reader.head()
    assert head is not None
    parts = [part async for part in reader.body(head, to_end=to_end)]
    return head.raw, b"".join(parts)


async def test_messages_of_one_connection_are_separated_byte_for_byte() -> None:
    """Whatever framing each has, and however the bytes arrive."""
    sent = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", b""
    messages = [sent, (CHUNKED, CHUNKS), sent, (SIZED, b"\r\n\r\n"), sent]
    whole = b"".join(head + body for head, body in messages)
    for parts in ([whole], [bytes([byte]) for byte in whole]):
        reader = reader_of(*parts)
        assert [await _whole(reader) for _ in messages] == messages
        assert await reader.head() is None


async def test_a_reply_of_unknown_length_lasts_to_the_end() -> None:
    """Only where it may: a request without a length has no body."""
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    assert await _whole(reader_of(head + b"to the end"), to_end=True) == (
        head,
        b"to the end",
    )
    assert await _whole(reader_of(head + b"another")) == (head, b"")


@pytest.mark.parametrize("cut", [SIZED + b"abc", CHUNKED + b"3\r\nab", CHUNKED + b"3"])
async def test_a_message_that_is_cut_short_is_not_whole(cut: bytes) -> None:
    """A missing end raises an error."""
    with pytest.raises(EOFError):
        await _whole(reader_of(cut))


@pytest.mark.parametrize(
    "broken",
    [
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nName : x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a",
    ],
)
async def test_a_doubtful_head_is_refused(broken: bytes) -> None:
    """Two readers could disagree on where such a message ends."""
    with pytest.raises(ValueError):  # noqa: PT011  (its text is of no matter)
        await reader_of(broken).head()


@pytest.mark.parametrize(
    ("raw", "is_open"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nConnection: Close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
    ],
)
def test_a_head_says_whether_its_connection_stays(raw: bytes, is_open: bool) -> None:
    """As HTTP/1.1 has it by default."""
    assert Head.parse(raw).is_persistent is is_open


@pytest.mark.parametrize(
    ("status", "method", "has_body"),
    [(200, "GET", True), (200, "HEAD", False), (204, "GET", False), (100, "X", False)],
)
def test_some_replies_have_no_body(status: int, method: str, has_body: bool) -> None:
    """Their Content-Length does not matter."""
    assert Head.parse(b"HTTP/1.1 %d X\r\n\r\n" % status).has_body(method) is has_body
