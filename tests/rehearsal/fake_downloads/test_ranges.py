"""Bytes come whole, in ranges, and only of the version that was asked for."""

from __future__ import annotations

import pytest
from aiohttp import web

from spicy_avocado_magic.rehearsal.fake_downloads.ranges import serve_bytes

from ..conftest import Open, call

CONTENT = bytes(range(256)) * 4096


@pytest.fixture
async def url(open_app: Open) -> str:
    """Where ``CONTENT`` is served."""
    app = web.Application()

    async def give(request: web.Request) -> web.StreamResponse:
        return await serve_bytes(request, CONTENT, etag="one")

    app.router.add_get("/", give)
    return f"http://{await open_app(app)}/"


async def test_head_returns_the_length_and_accepts_ranges(url: str) -> None:
    """A downloader can plan its parts from a HEAD."""
    response = await call(url, method="HEAD")
    assert response.status == 200
    assert response.headers["Content-Length"] == str(len(CONTENT))
    assert response.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=10-19", 10, 20), ("bytes=1048000-", 1048000, 1 << 20)],
)
async def test_a_range_is_answered_with_206_and_its_place(
    url: str, asked: str, start: int, stop: int
) -> None:
    """The bytes are those that were asked for."""
    response = await call(url, headers={"Range": asked})
    assert response.status == 206
    assert response.content == CONTENT[start:stop], "other bytes than asked for"
    assert (
        response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(CONTENT)}"
    )


async def test_a_range_of_another_version_is_answered_whole(url: str) -> None:
    """If-Range keeps two versions from being joined into one file."""
    response = await call(url, headers={"Range": "bytes=5-", "If-Range": '"two"'})
    assert (response.status, response.content) == (200, CONTENT)


@pytest.mark.parametrize("asked", ["bytes=1048576-", "bytes=99999999-", "nonsense"])
async def test_a_range_beyond_the_end_is_416(url: str, asked: str) -> None:
    """A resume after the last byte learns the true length."""
    response = await call(url, headers={"Range": asked})
    assert response.status == 416
    assert response.headers["Content-Range"] == f"bytes */{len(CONTENT)}"
