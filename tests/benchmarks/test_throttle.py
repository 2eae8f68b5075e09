"""The throttled link and its rates, by its own clock."""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from .throttle import BURST_S, CHUNK_BYTES, Connection, Link, Shape, serve_through

MBIT = 125_000.0
CONTENT = bytes(range(256)) * 4096


def carried(link: Link, connections: int, seconds: float) -> list[int]:
    """Return what each of several greedy connections carries in the time given."""
    sent = [0] * connections
    own = [link.connection() for _ in range(connections)]
    due = [(0.0, number) for number in range(connections)]
    while due:
        now, number = heapq.heappop(due)
        count, send_at = link.admit(own[number], CHUNK_BYTES, now)
        if send_at <= seconds:
            sent[number] += count
            heapq.heappush(due, (send_at, number))
    return sent


@pytest.mark.parametrize("connections", [1, 2, 16])
def test_all_connections_together_get_the_total_rate(connections: int) -> None:
    """100 Mbit/s is 125 MB in ten seconds, however many ask, and evenly."""
    sent = carried(Link(Shape(total_bytes_s=100 * MBIT)), connections, 10.0)
    assert sum(sent) == pytest.approx(125e6, rel=0.02), "the total rate is not held"
    assert max(sent) - min(sent) <= 2 * CHUNK_BYTES, "one connection was preferred"


@pytest.mark.parametrize(("connections", "expected"), [(1, 6.25), (4, 25), (32, 100)])
def test_a_connection_is_held_to_its_own_rate(
    connections: int, expected: float
) -> None:
    """50 Mbit/s each, and 800 in total, which only the last case reaches."""
    shape = Shape(total_bytes_s=800 * MBIT, connection_bytes_s=50 * MBIT)
    sent = carried(Link(shape), connections, 10.0)
    assert sum(sent) == pytest.approx(expected * 10e6, rel=0.02)
    assert max(sent) <= 62.5e6 + BURST_S * 50 * MBIT, "one was faster than its cap"


def test_an_idle_link_saves_up_no_more_than_a_moment() -> None:
    """After a minute of silence the next second brings a second's bytes."""
    link = Link(Shape(total_bytes_s=100 * MBIT))
    connection = link.connection()
    _, send_at = link.admit(connection, int(100 * MBIT), now=60.0)
    assert send_at == pytest.approx(61.0 - BURST_S)


def test_an_unthrottled_link_never_waits() -> None:
    """Without rates, everything passes at once."""
    link = Link(Shape())
    assert link.admit(link.connection(), 1 << 30, now=5.0) == (1 << 30, 5.0)


def test_connections_are_cut_at_random_around_the_mean() -> None:
    """A thousand budgets differ, and average to what the shape says."""
    link = Link(Shape(cut_every_bytes=20e6, seed=1))
    budgets = [link.connection().left_bytes for _ in range(1000)]
    assert sum(budgets) / 1000 == pytest.approx(20e6, rel=0.1)
    assert len(set(budgets)) == 1000, "cuts are not at random"


class _Scissors(Link):
    """Cuts each connection after exactly 300,000 bytes."""

    def connection(self) -> Connection:
        made = super().connection()
        made.left_bytes = 300_000
        return made


@pytest.fixture
async def scissors() -> AsyncIterator[tuple[Link, str]]:
    """Serve ``CONTENT`` through a link that cuts; yield the link and the URL."""
    link = _Scissors(Shape())

    async def give(request: web.Request) -> web.StreamResponse:
        return await serve_through(link, request, CONTENT, "content")

    app = web.Application()
    app.router.add_get("/", give)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield link, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def test_a_cut_breaks_the_connection_for_real(
    scissors: tuple[Link, str],
) -> None:
    """The client gets some right bytes, then an error instead of an end."""
    link, url = scissors
    got = bytearray()

    async def read(response: aiohttp.ClientResponse) -> None:
        async for chunk in response.content.iter_any():
            got.extend(chunk)

    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.content_length == len(CONTENT)
        with pytest.raises(aiohttp.ClientError):
            await read(response)
    assert CONTENT.startswith(got)
    assert (link.cuts, link.sent_bytes) == (1, 300_000)


async def test_a_reused_connection_goes_on_with_its_budget(
    scissors: tuple[Link, str],
) -> None:
    """Bounds hold for a TCP connection, not for a request; a new one starts over."""
    link, url = scissors
    part = {"Range": "bytes=1000-200999"}
    async with aiohttp.ClientSession() as session:
        async with session.get(url, headers=part) as response:
            assert response.status == 206
            assert await response.read() == CONTENT[1000:201_000]
        async with session.get(url, headers=part) as response:
            with pytest.raises(aiohttp.ClientError):
                await response.read()
        async with session.get(url, headers=part) as response:
            assert len(await response.read()) == 200_000
    assert link.cuts == 1


async def test_ranges_and_heads_are_answered_as_content_servers_do(
    scissors: tuple[Link, str],
) -> None:
    """206 with its range, 416 beyond the end, and a length without a body."""
    link, url = scissors
    async with aiohttp.ClientSession() as session:
        async with session.head(url) as response:
            assert response.content_length == len(CONTENT)
        beyond = {"Range": f"bytes={len(CONTENT)}-"}
        async with session.get(url, headers=beyond) as response:
            assert response.status == 416
            assert response.headers["Content-Range"] == f"bytes */{len(CONTENT)}"
        last = {"Range": f"bytes={len(CONTENT) - 5}-"}
        async with session.get(url, headers=last) as response:
            assert await response.read() == CONTENT[-5:]
    assert link.sent_bytes == 5, "a HEAD or a refusal carried bytes"
