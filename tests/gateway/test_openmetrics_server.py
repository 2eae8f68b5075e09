"""The port for scrapers lets nobody in but them, and shows them one page."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import aiohttp
import pytest

from spicy_avocado_magic.errors import PortInUse
from spicy_avocado_magic.gateway.openmetrics import MetricsServer
from spicy_avocado_magic.system.redaction import Secret

from .conftest import KEY, WITH_KEY, bounds, exchange

TOKEN: Final = "metrics-token-0123456789"
WITH_TOKEN: Final = {"Authorization": f"Bearer {TOKEN}"}
PAGE: Final = ("application/openmetrics-text; version=1.0.0; charset=utf-8", b"# EOF\n")


@dataclass(slots=True)
class Scraper:
    """A port that is open, and a client of it."""

    url: str
    client: aiohttp.ClientSession

    @property
    def base(self) -> str:
        """The URL without its path."""
        return self.url.removesuffix("/metrics")

    async def ask(
        self, url: str, *, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, aiohttp.ClientResponse, bytes]:
        """Return status, reply and body."""
        async with self.client.request(method, url, headers=headers) as reply:
            return reply.status, reply, await reply.read()


def port_with(**changes: float) -> MetricsServer:
    """Return a port that is not open yet."""
    return MetricsServer(lambda: PAGE, Secret(TOKEN), bounds(**changes))


@pytest.fixture
async def scraper() -> AsyncIterator[Scraper]:
    """An open port."""
    port = port_with()
    url = await port.start("127.0.0.1", 0)
    async with aiohttp.ClientSession() as client:
        yield Scraper(url=url, client=client)
    await port.stop(0.1)


async def test_the_token_opens_the_page(scraper: Scraper) -> None:
    """Right content type, the whole text, no library named."""
    status, reply, body = await scraper.ask(scraper.url, headers=WITH_TOKEN)
    assert (status, body) == (200, PAGE[1])
    assert reply.headers["Content-Type"] == PAGE[0]
    assert "aiohttp" not in str(reply.headers).lower(), "the server names its parts"


@pytest.mark.parametrize(
    "headers",
    [
        None,
        WITH_KEY,
        {"Authorization": TOKEN},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": "Bearer "},
        {"x-api-key": TOKEN},
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/nowhere", "/api/tags"])
async def test_nobody_else_learns_anything(
    scraper: Scraper, headers: dict[str, str] | None, path: str
) -> None:
    """401, the same for every path: the users' key is no token either."""
    status, reply, body = await scraper.ask(scraper.base + path, headers=headers)
    assert status == 401, f"{headers} got {body!r}"
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    for secret in (TOKEN, KEY):
        assert secret.encode() not in body, "the response reveals a secret"


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/metrics?x=1", 404),
        ("GET", "/api/tags", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/metrics", 405),
    ],
)
async def test_there_is_one_page_and_it_can_only_be_read(
    scraper: Scraper, method: str, path: str, expected: int
) -> None:
    """A token that leaks shows counts, and does nothing."""
    status, _, body = await scraper.ask(
        scraper.base + path, method=method, headers=WITH_TOKEN
    )
    assert status == expected, f"{method} {path} got {body!r}"


async def test_a_doubled_token_header_is_refused(scraper: Scraper) -> None:
    """Readers differ on which of two headers counts."""
    port = int(scraper.base.rsplit(":", 1)[1])
    line = f"Authorization: Bearer {TOKEN}\r\n"
    head = f"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{line}{line}\r\n"
    answer = await exchange(port, head.encode())
    assert answer.startswith(b"HTTP/1.1 401 "), answer


async def test_a_silent_connection_is_closed() -> None:
    """Nobody keeps the port busy with nothing."""
    port = port_with(head_wait_s=0.2)
    url = await port.start("127.0.0.1", 0)
    number = int(url.removesuffix("/metrics").rsplit(":", 1)[1])
    assert await exchange(number, b"GET /met") == b"", "it was kept open"
    await port.stop(0.1)


async def test_a_taken_port_is_an_error_that_says_so() -> None:
    """Another program's port is left alone."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PortInUse):
            await port_with().start("127.0.0.1", taken.getsockname()[1])


async def test_an_address_of_version_six_can_be_given() -> None:
    """``[::1]:9464`` is one that users write."""
    port = port_with()
    url = await port.start("[::1]", 0)
    async with aiohttp.request("GET", url, headers=WITH_TOKEN) as reply:
        assert reply.status == 200
    await port.stop(0.1)
