"""More than it can serve: memory stays flat, and the well-behaved are served."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp
import psutil
import pytest
from aiohttp import web

from tests.machine_speed import scaled

from .conftest import KEY, WITH_KEY, Engine
from .lone_gateway import GREEDY, LIMITS

ROOT: Final = Path(__file__).parents[2]
MIB: Final = 2**20
MOST_GROWTH_BYTES: Final = LIMITS.bodies_bytes + 96 * MIB
"""What bodies may take, and some parsed ones and buffers besides.

About 900 MiB are sent, which would be several times as much if it were parsed.
"""
POLITE: Final = 40
AT_ONCE: Final = 100
HOST: Final = b"Host: localhost\r\n"


@dataclass(slots=True)
class Lone:
    """A gateway in its own process."""

    port: int
    process: psutil.Process
    statuses: Counter[bytes] = field(default_factory=Counter)
    """How often each status was answered to the greedy."""
    without_retry: int = 0
    """Responses with 429 and no Retry-After."""

    def rss_bytes(self) -> int:
        """Return what it has in memory."""
        return int(self.process.memory_info().rss)

    async def send(self, *parts: bytes, read: bool = True) -> bytes:
        """Send, and return the first of what comes back, or nothing."""
        try:
            async with asyncio.timeout(scaled(20)):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                answer = asyncio.create_task(reader.read(2000))
                try:
                    with contextlib.suppress(ConnectionError):
                        for part in parts:
                            writer.write(part)
                            await writer.drain()
                    return await answer if read else b""
                finally:
                    answer.cancel()
                    writer.transport.abort()
        except (ConnectionError, TimeoutError):
            return b""

    async def greedy(self, body: bytes) -> None:
        """Ask for a chat with a body, and note the answer."""
        head = (
            f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: {GREEDY.secret}"
            f"\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        answer = await self.send(head.encode(), body)
        self.statuses[answer[9:12]] += 1
        self.without_retry += answer[9:12] == b"429" and b"Retry-After" not in answer


@pytest.fixture
async def lone(engine: Engine) -> AsyncIterator[Lone]:
    """A gateway in its own process, before an engine that never ends a flood."""

    async def reply(request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        asked = json.loads(body) if body else {}
        if asked.get("prompt") != "flood":
            return web.json_response({"ok": len(body)})
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_535 + b"\n")

    engine.reply = reply
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.gateway.lone_gateway",
        engine.base_url,
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(scaled(20)):
            url = (await process.stdout.readline()).decode().strip()
        yield Lone(int(url.rsplit(":", 1)[1]), psutil.Process(process.pid))
        process.stdin.close()
        async with asyncio.timeout(scaled(10)):
            assert await process.wait() == 0, "the gateway did not end well"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _unauthenticated(lone: Lone) -> Iterator[Awaitable[object]]:
    line = b"POST /api/chat HTTP/1.1\r\n" + HOST
    for number in range(60):
        yield lone.send(b"")
        yield lone.send(line + b"X: " + b"a" * number * 100)
        yield lone.send(line, *[b"X-%d: %b\r\n" % (n, b"a" * 4000) for n in range(40)])
        yield lone.send(line + b"X: " + b"a" * MIB)
        yield lone.send(line + b"Content-Length: 8000000\r\n\r\n", *[b"a" * MIB] * 8)
        yield lone.send((b"GET / HTTP/1.1\r\n" + HOST + b"\r\n") * 20_000, read=False)
        yield lone.send(
            line + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n" * 10_000
        )


def _greedy(lone: Lone) -> Iterator[Awaitable[object]]:
    large = b'{"model":"tiny","images":["' + b"a" * (7 * MIB) + b'"]}'
    lists = b'{"model":"tiny","x":[' + b"[]," * (2 * MIB) + b"0]}"
    slashes = b'{"model":"' + b"/" * (7 * MIB) + b'"}'
    beyond = b'{"model":"tiny","x":"' + b"a" * (9 * MIB) + b'"}'
    for _ in range(8):
        for body in (large, large, lists, slashes, beyond):
            yield lone.greedy(body)
        for _ in range(8):
            yield lone.greedy(b'{"model":"tiny","prompt":"flood"}')
    # These announce much, send a little and wait.
    head = (
        f"POST /api/chat HTTP/1.1\r\nHost: localhost\r\nx-api-key: {GREEDY.secret}\r\n"
        "Content-Length: 8000000\r\n\r\n"
    )
    for _ in range(40):
        yield lone.send(head.encode(), b'{"model":')
    flood = b'{"model":"tiny","prompt":"flood"}'
    head = head.replace("8000000", str(len(flood)))

    async def read_nothing() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", lone.port, limit=1)
        with contextlib.suppress(ConnectionError, TimeoutError):
            writer.write(head.encode() + flood)
            async with asyncio.timeout(scaled(10)):
                await writer.wait_closed()
        writer.transport.abort()

    for _ in range(40):
        yield read_nothing()


class Polite:
    """The owner, who sends small requests one after the other.

    A connection may break as it is made: stock clients try three times as well.
    """

    def __init__(self, lone: Lone, *, is_new_each_time: bool) -> None:
        self._url = f"http://127.0.0.1:{lone.port}/api/chat"
        self._tries = 3 if is_new_each_time else 1
        self.client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=is_new_each_time),
            headers=WITH_KEY,
            timeout=aiohttp.ClientTimeout(total=scaled(20)),
        )

    async def chat(self) -> str:
        """Return why a request failed; empty if it did not."""
        failures = ""
        for number in range(self._tries):
            await asyncio.sleep(0.3 * number)
            try:
                sent = {"model": "tiny", "prompt": "hi"}
                async with self.client.post(self._url, json=sent) as reply:
                    if reply.status == 200:
                        return ""
                    failures += f"{reply.status} {await reply.text()}; "
            except (aiohttp.ClientError, TimeoutError) as error:
                failures += f"{error!r}; "
        return failures

    async def chats(self, until: Callable[[], bool]) -> list[str]:
        """Return what failed of ever more requests."""
        failures = [await self.chat() for _ in range(POLITE)]
        while not until():
            failures.append(await self.chat())
        return [failure for failure in failures if failure]


async def _watched(lone: Lone, done: asyncio.Event) -> int:
    """Return the most memory that was seen until then."""
    most = 0
    while not done.is_set():
        most = max(most, lone.rss_bytes())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), 0.02)
    return most


async def _overload(lone: Lone, attacks: Iterator[Awaitable[object]]) -> None:
    """Do all of this at a time while two others chat on; then look at the memory."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(attack: Awaitable[object]) -> None:
        async with gate:
            await attack

    new, kept = (Polite(lone, is_new_each_time=new) for new in (True, False))
    async with new.client, kept.client:
        for _ in range(POLITE):
            assert not await new.chat() + await kept.chat(), "it serves nobody"
        before = lone.rss_bytes()
        done = asyncio.Event()
        watch = asyncio.create_task(_watched(lone, done))
        attack = asyncio.gather(*map(one, attacks))
        for failed in await asyncio.gather(
            *(p.chats(attack.done) for p in (new, kept))
        ):
            assert not failed, f"{len(failed)} were not served: {failed[:3]}"
        await attack
        done.set()
        growth = await watch - before
    assert growth < MOST_GROWTH_BYTES, f"memory grew by {growth / MIB:.0f} MiB"


@pytest.mark.alone
async def test_unauthenticated_clients_take_no_memory_and_no_slot(lone: Lone) -> None:
    """Silence, endless heads and bodies, thousands of requests in one packet."""
    await _overload(lone, _unauthenticated(lone))


@pytest.mark.alone
async def test_a_greedy_key_takes_bounded_memory_and_nobodys_turn(lone: Lone) -> None:
    """Large and twisted bodies, streams that nobody reads, more than has places."""
    assert GREEDY.secret != KEY, "the greedy one is somebody else"
    await _overload(lone, _greedy(lone))
    assert lone.statuses[b"429"], f"nothing was too much: {lone.statuses}"
    assert lone.statuses[b"413"], f"no body was too large: {lone.statuses}"
    assert lone.statuses[b"200"], (
        f"the greedy one was not served at all: {lone.statuses}"
    )
    assert not lone.without_retry, "some had no Retry-After"


SLOW: Final = 15


@pytest.mark.alone
async def test_slow_clients_are_ended_while_others_are_served(lone: Lone) -> None:
    """Silence, and heads and bodies that never end, cost a place for a while only."""
    start = b"POST /api/chat HTTP/1.1\r\n" + HOST
    keyed = start + f"x-api-key: {GREEDY.secret}\r\n".encode()

    async def slow(*, sent: bytes, more: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", lone.port)
        answer = asyncio.create_task(reader.read())
        writer.write(sent)
        while more and not answer.done():
            writer.write(more)
            await asyncio.wait([answer], timeout=0.1)
        (statuses,) = await asyncio.gather(answer, return_exceptions=True)
        writer.transport.abort()
        return statuses if isinstance(statuses, bytes) else b""

    slow_ones = [
        *(slow(sent=b"", more=b"") for _ in range(SLOW)),
        *(slow(sent=start, more=b"") for _ in range(SLOW)),
        *(slow(sent=start + b"X: ", more=b"a") for _ in range(SLOW)),
        *(slow(sent=keyed + b"X: ", more=b"a") for _ in range(SLOW)),
        *(
            slow(sent=keyed + b"Content-Length: 99\r\n\r\n{", more=b"")
            for _ in range(SLOW)
        ),
    ]
    polite = Polite(lone, is_new_each_time=True)
    async with polite.client, asyncio.timeout(scaled(30)):
        attack = asyncio.gather(*slow_ones)
        assert not await polite.chats(attack.done), "the polite one was not served"
        answers = await attack
    heads, bodies = answers[: 4 * SLOW], answers[4 * SLOW :]
    assert set(heads) == {b""}, f"half a head was answered: {set(heads)}"
    statuses = {answer[:12] for answer in bodies}
    assert statuses == {b"HTTP/1.1 408"}, f"half a body was answered with {statuses}"
