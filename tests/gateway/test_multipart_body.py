"""The form of a transcription: what of it reaches the engine, and what is refused."""

from __future__ import annotations

import asyncio
import io
import json

import aiohttp
import pytest
from aiohttp import MultipartReader, StreamReader
from aiohttp.base_protocol import BaseProtocol

from .conftest import KEY, WITH_KEY, Engine, Front, Open, bounds, exchange

PATH = "/v1/audio/transcriptions"
TYPE = "multipart/form-data; boundary=b"


def part(head: str, content: bytes) -> bytes:
    """Return a part of a form with the boundary ``b``."""
    return b"--b\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"


def field(name: str, content: bytes, more: str = "") -> bytes:
    """Return a field of a form with the boundary ``b``."""
    return part(f'Content-Disposition: form-data; name="{name}"{more}', content)


END = b"--b--\r\n"
MODEL = field("model", b"tiny")


async def sent(front: Front, body: bytes, kind: str = TYPE) -> tuple[int, bytes]:
    """Return status and body of the answer to a form."""
    headers = WITH_KEY | {"Content-Type": kind}
    status, _, answer = await front.call("POST", PATH, data=body, headers=headers)
    return status, answer


async def arrived(engine: Engine) -> dict[str, tuple[str | None, bytes]]:
    """Return the parts of the one form that the engine got: file name and content."""
    assert len(engine.seen) == 1, f"the engine saw {engine.seen}"
    loop, body = asyncio.get_running_loop(), engine.seen[0].body
    stream = StreamReader(BaseProtocol(loop), len(body), loop=loop)
    stream.feed_data(body)
    stream.feed_eof()
    parts = {}
    async for part in MultipartReader(engine.seen[0].headers, stream):
        assert isinstance(part, aiohttp.BodyPartReader)
        assert set(part.headers) == {"Content-Disposition"}, f"{part.headers} went on"
        assert part.name is not None, "a part without a name went on"
        assert part.name not in parts, "a part arrived twice"
        parts[part.name] = (part.filename, bytes(await part.read()))
    return parts


async def test_a_stock_form_arrives_in_our_own_words(
    front: Front, engine: Engine
) -> None:
    """File and texts to the byte; headers, further fields and the file's name not."""
    audio = bytes(range(256)) * 5000
    form = aiohttp.FormData()
    form.add_field("model", "TINY")
    form.add_field("language", "de")
    form.add_field("prompt", "Avocado\r\n--b")
    form.add_field("response_format", "json")
    form.add_field("temperature", "0")
    form.add_field(
        "file", io.BytesIO(audio), filename='x";name="model', content_type="a/b"
    )
    status, _, _ = await front.call("POST", PATH, data=form, headers=WITH_KEY)
    assert status == 200
    assert await arrived(engine) == {
        "model": (None, b"TINY"),
        "language": (None, b"de"),
        "prompt": (None, b"Avocado\r\n--b"),
        "response_format": (None, b"json"),
        "file": ("audio", audio),
    }
    seen = engine.seen[0]
    assert seen.headers["Content-Length"] == str(len(seen.body))


CLEAR = {
    "a false length": field("model", b"tiny", "\r\nContent-Length: 2"),
    "base64 is not undone": field(
        "model", b"tiny", "\r\nContent-Transfer-Encoding: 8bit"
    ),
    "another name inside a file": MODEL
    + field("file", field("model", b"other").replace(b"--b", b"--c"), '; filename="x"'),
    "a preamble": b"model=other\r\n" + MODEL,
    "an epilogue": MODEL + END + field("model", b"other"),
}


@pytest.mark.parametrize("body", CLEAR.values(), ids=CLEAR)
async def test_tricks_that_name_another_model_do_not_arrive(
    front: Front, engine: Engine, body: bytes
) -> None:
    """What goes on names the model that was checked, once."""
    await sent(front, body + END)
    if engine.seen:
        assert (await arrived(engine))["model"] == (None, b"tiny"), "another model ran"
        assert engine.seen[0].body.count(b'name="model"') <= 2, "two fields went on"


UNENDED = (b"", b"tiny", MODEL, MODEL[:-2], MODEL[:9], MODEL + END[:4])
REFUSED = {
    "no model": (field("file", b"x", '; filename="x"'), 400),
    "an empty model": (field("model", b""), 400),
    "another model": (field("model", b"other"), 404),
    "another model in base64": (
        field("model", b"b3RoZXI=", "\r\nContent-Transfer-Encoding: base64"),
        404,
    ),
    "another model quoted": (
        field("model", b"=6fther", "\r\nContent-Transfer-Encoding: quoted-printable"),
        404,
    ),
    "another model as a file": (field("model", b"other", '; filename="x"'), 404),
    "a charset": (field("model", "tiny".encode("utf-16"), "; charset=utf-16"), 404),
    "the model twice": (MODEL + field("model", b"other"), 400),
    "the model twice, once a file": (
        MODEL + field("model", b"tiny", '; filename="x"'),
        400,
    ),
    "the model twice, once extended": (
        MODEL + part("Content-Disposition: form-data; name*=utf-8''model", b"other"),
        400,
    ),
    "a part without a name": (MODEL + part("X: y", b"z"), 400),
    "a form in the form": (
        MODEL
        + part(
            'Content-Disposition: form-data; name="x"\r\n'
            "Content-Type: multipart/mixed; boundary=c",
            b"--c\r\n\r\ny\r\n--c--",
        ),
        400,
    ),
    **{f"no end {n}": (body, 400) for n, body in enumerate(UNENDED)},
    "too many headers": (b"--b\r\n" + b"X: y\r\n" * 1000 + b"\r\nz\r\n", 400),
    "a header too long": (b"--b\r\nX: " + b"y" * 100_000 + b"\r\n\r\nz\r\n", 400),
    "a charset too long": (field("_charset_", b"u" * 40), 400),
}


@pytest.mark.parametrize(("body", "status"), REFUSED.values(), ids=REFUSED)
async def test_what_is_no_clear_form_of_a_served_model_goes_nowhere(
    front: Front, engine: Engine, body: bytes, status: int
) -> None:
    """Two readers could read it in two ways: none does."""
    got, answer = await sent(front, body if body in UNENDED else body + END)
    assert got == status, answer
    assert json.loads(answer)["error"]["message"], "the error is missing"
    assert not engine.seen, f"the engine saw {engine.seen}"


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("application/json", 415),
        ("multipart/mixed; boundary=b", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=" + "b" * 100, 400),
    ],
)
async def test_only_a_form_with_a_boundary_is_one(
    front: Front, engine: Engine, kind: str, status: int
) -> None:
    """Any other body is refused by its type."""
    assert (await sent(front, MODEL + END, kind))[0] == status
    assert not engine.seen, f"the engine saw {engine.seen}"


async def test_a_form_beyond_the_cap_is_refused(
    open_gateway: Open, engine: Engine
) -> None:
    """Announced or not, in a part or in the heads of parts."""
    front = await open_gateway(limits=bounds(body_bytes=1000))
    for body in (
        field("file", b"x" * 1000, '; filename="x"'),
        b"--b\r\n" + b"X: y\r\n" * 300,
        b"preamble\r\n" * 200,
    ):
        head = f"Host: localhost\r\nx-api-key: {KEY}\r\nContent-Type: {TYPE}\r\n"
        start = f"POST {PATH} HTTP/1.1\r\n{head}Connection: close\r\n".encode()
        chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        for framed in (
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body),
            b"Transfer-Encoding: chunked\r\n\r\n" + chunked,
        ):
            answer = await exchange(front.port, start + framed)
            assert answer.startswith(b"HTTP/1.1 413 "), answer
    assert not engine.seen, "a form beyond the cap went on"


async def test_a_form_takes_twice_its_size_of_the_memory_for_bodies(
    open_gateway: Open,
) -> None:
    """It is held as it came and as it goes."""
    body = MODEL + field("file", b"x" * 1000, '; filename="x"') + END
    front = await open_gateway(limits=bounds(bodies_bytes=2 * len(body) - 1))
    assert (await sent(front, body))[0] == 429
    front = await open_gateway(limits=bounds(bodies_bytes=2 * len(body)))
    assert (await sent(front, body))[0] == 200


async def test_a_form_that_stalls_is_given_up(open_gateway: Open) -> None:
    """Half a form does not keep a slot for ever."""
    front = await open_gateway(limits=bounds(body_wait_s=0.1))
    raw = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {KEY}\r\n"
        f"Content-Type: {TYPE}\r\nContent-Length: 999\r\n\r\n--b\r\n"
    )
    answer = await exchange(front.port, raw.encode())
    assert answer.startswith(b"HTTP/1.1 408 "), answer
