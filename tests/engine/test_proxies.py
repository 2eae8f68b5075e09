"""Downloads through a company's network: a proxy, and certificates of its own."""

from __future__ import annotations

import random
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.engine.download.http import get_text
from spicy_avocado_magic.engine.download.verified_download import (
    download_file,
)
from spicy_avocado_magic.errors import NetworkUnreachable

from .file_host import FileHost
from .proxy import Proxy

HOST = "releases.example"
CONTENT = random.Random(3).randbytes(5 << 20)
VARIABLES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset the proxy and certificate variables of this machine."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Return a company's own certificate authority."""
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    """Return the file with its certificate."""
    path = tmp_path / "company.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def files() -> FileHost:
    """Return the host of the file, which is not up yet."""
    return FileHost(CONTENT)


async def _serving(
    app: web.Application, context: ssl.SSLContext | None
) -> web.AppRunner:
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    return runner


@pytest.fixture
async def secure_proxy(files: FileHost, authority: trustme.CA) -> AsyncIterator[Proxy]:
    """Run the file host with a certificate of the company's, behind a proxy."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(context)
    runner = await _serving(files.application(), context)
    proxy = Proxy(runner.addresses[0][1])
    async with proxy.running():
        yield proxy
    await runner.cleanup()


@pytest.fixture
async def plain_proxy(files: FileHost) -> AsyncIterator[Proxy]:
    """Run the file host without a certificate, behind a proxy."""
    runner = await _serving(files.application(), None)
    proxy = Proxy(runner.addresses[0][1])
    async with proxy.running():
        yield proxy
    await runner.cleanup()


async def bring(url: str, folder: Path, timeouts: Timeouts) -> bytes:
    """Fetch the file and return it."""
    path = folder / "file"
    await download_file(url, path, timeouts=timeouts, on_progress=lambda *_: None)
    return path.read_bytes()


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("proxy_variable", ["HTTPS_PROXY", "https_proxy"])
async def test_a_file_comes_through_a_proxy_with_the_companys_certificate(
    secure_proxy: Proxy,
    bundle: str,
    tmp_path: Path,
    timeouts: Timeouts,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    proxy_variable: str,
) -> None:
    """Both variables for certificates apply to all connections."""
    monkeypatch.setenv(proxy_variable, secure_proxy.url)
    monkeypatch.setenv(variable, bundle)
    assert await bring(f"https://{HOST}/file", tmp_path, timeouts) == CONTENT
    assert set(secure_proxy.asked) == {f"CONNECT {HOST}:443"}


async def test_an_untrusted_certificate_is_refused(
    secure_proxy: Proxy,
    tmp_path: Path,
    timeouts: Timeouts,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The message names the variable to set."""
    monkeypatch.setenv("HTTPS_PROXY", secure_proxy.url)
    with pytest.raises(NetworkUnreachable, match="REQUESTS_CA_BUNDLE"):
        await bring(f"https://{HOST}/file", tmp_path, timeouts)
    with pytest.raises(NetworkUnreachable, match="not trusted"):
        await get_text(f"https://{HOST}/file", timeouts)


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
async def test_a_plain_file_comes_through_a_proxy(
    plain_proxy: Proxy,
    tmp_path: Path,
    timeouts: Timeouts,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    """Without TLS the proxy gets the absolute URL."""
    monkeypatch.setenv(variable, plain_proxy.url)
    assert await bring(f"http://{HOST}/file", tmp_path, timeouts) == CONTENT
    assert set(plain_proxy.asked) == {f"GET http://{HOST}/file"}


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("excepted", [HOST, ".example", "*"])
async def test_a_host_in_no_proxy_is_contacted_directly(
    plain_proxy: Proxy,
    tmp_path: Path,
    timeouts: Timeouts,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    excepted: str,
) -> None:
    """``NO_PROXY`` takes names, ends of names, and everything."""
    monkeypatch.setenv("http_proxy", plain_proxy.url)
    monkeypatch.setenv(variable, excepted)
    with pytest.raises(NetworkUnreachable, match=f"{HOST} cannot be found"):
        await get_text(f"http://{HOST}/file", timeouts)
    assert plain_proxy.asked == [], "the proxy was asked all the same"
