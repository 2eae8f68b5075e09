"""Certificates, proxies and what connection errors mean."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from aiohttp import web

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.engine.download.http import (
    HTTPStatusError,
    get_text,
    open_session,
    retry_after_s,
)
from spicy_avocado_magic.errors import DownloadFailed, UsageError

from ..conftest import Serve


async def test_a_bundle_that_is_not_there_is_the_users_to_mend(
    timeouts: Timeouts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The message names the variable; nothing falls back to other certificates."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with pytest.raises(UsageError, match="REQUESTS_CA_BUNDLE"):
        open_session("https://x.example", timeouts)


async def test_a_bundle_replaces_the_systems_certificates(
    timeouts: Timeouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that is named is the one that is loaded."""
    loaded: list[str | None] = []
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/certificates.pem")

    def load(*, cafile: str | None = None, capath: str | None = None) -> ssl.SSLContext:
        loaded.append(cafile or capath)
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    monkeypatch.setattr(ssl, "create_default_context", load)
    await open_session("https://x.example", timeouts).close()
    assert loaded == ["/certificates.pem"]


async def test_a_status_carries_its_text(timeouts: Timeouts, serve: Serve) -> None:
    """The server's text about a refusal is kept."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=412, text="newer")

    app = web.Application()
    app.router.add_get("/", refuse)
    with pytest.raises(HTTPStatusError) as caught:
        await get_text(await serve(app), timeouts)
    assert (caught.value.status, caught.value.text) == (412, "newer")


async def test_a_text_without_end_is_cut(timeouts: Timeouts, serve: Serve) -> None:
    """A server that never stops sending does not fill the memory."""

    async def flood(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(bytes(1 << 18))
        return response

    app = web.Application()
    app.router.add_get("/", flood)
    text = await get_text(await serve(app), timeouts)
    assert len(text) < 8 << 20


async def test_a_server_that_never_answers_is_named(
    timeouts: Timeouts, serve: Serve
) -> None:
    """The error names the server."""
    import asyncio

    async def hang(_request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    app = web.Application()
    app.router.add_get("/", hang)
    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1 stopped sending"):
        await get_text(await serve(app), timeouts)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-3", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 21 Oct 2215 07:28:00 GMT", 1e9),
    ],
)
async def test_retry_after_is_read_in_both_forms(
    timeouts: Timeouts, serve: Serve, header: str, seconds: float
) -> None:
    """It is seconds or a date; an invalid one is no pause."""

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": header})

    app = web.Application()
    app.router.add_get("/", refuse)
    url = await serve(app)
    async with open_session(url, timeouts) as session, session.get(url) as response:
        pause_s = retry_after_s(response)
    assert pause_s == seconds if seconds < 1e9 else pause_s > seconds
