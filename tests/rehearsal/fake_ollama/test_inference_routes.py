"""A reply ends with its client, and waits for its turn."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.machine_speed import scaled

from ..conftest import call

LONG = {"model": "tiny", "prompt": "word " * 10_000}


@pytest.mark.parametrize("stream", [True, False])
async def test_a_generation_stops_when_its_client_leaves(
    tiny: str, stream: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log says so, and the only slot is free again."""
    async with aiohttp.ClientSession() as session:
        body = LONG | {"stream": stream}
        asked = asyncio.create_task(session.post(f"{tiny}/api/generate", json=body))
        if stream:
            response = await asked
            await response.content.readline()
            response.close()
        else:
            while b"tiny" not in (await call(f"{tiny}/api/ps")).content:
                assert not asked.done(), "it answered at once"
            asked.cancel()
    ask = {"model": "tiny", "prompt": "next", "stream": False}
    async with asyncio.timeout(scaled(2)):
        reply = await call(f"{tiny}/api/generate", json=ask)
    assert b"You said: next" in reply.content
    assert 'msg="client gone" path=/api/generate' in capsys.readouterr().err


async def test_one_answer_streams_at_a_time_and_the_version_is_served_meanwhile(
    tiny: str,
) -> None:
    """As with one slot in Ollama, a second request waits for its first byte."""
    async with aiohttp.ClientSession() as session:
        first = await session.post(f"{tiny}/api/generate", json=LONG)
        await first.content.readline()
        second = asyncio.create_task(session.post(f"{tiny}/api/generate", json=LONG))
        assert (await call(f"{tiny}/api/version")).status == 200
        for _word in range(20):
            await first.content.readline()
        assert not second.done(), "two speak at once"
        first.close()
        async with asyncio.timeout(scaled(2)):
            (await second).close()
