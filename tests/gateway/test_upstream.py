"""Where the engine is, and the wait for it."""

from __future__ import annotations

import asyncio

import pytest

from spicy_avocado_magic.gateway.error_responses import ErrorResponse
from spicy_avocado_magic.gateway.upstream import Upstream
from tests.machine_speed import scaled

from .conftest import bounds

URL = "http://127.0.0.1:11434"


def soon(wait_s: float = 5.0) -> float:
    """Return a deadline by the loop's clock."""
    return asyncio.get_running_loop().time() + wait_s


async def test_an_engine_that_is_ready_is_returned_at_once() -> None:
    """Without its slash, and even past the deadline."""
    upstream = Upstream(bounds(hold=0))
    upstream.set(f"{URL}/")
    assert upstream.require_base_url() == URL
    assert await upstream.wait(soon(-1)) == URL


async def test_an_engine_that_is_not_there_is_503() -> None:
    """With the time after which to ask again; one that has gone counts as well."""
    upstream = Upstream(bounds())
    with pytest.raises(ErrorResponse) as caught:
        upstream.require_base_url()
    assert caught.value.status == 503
    assert int(caught.value.headers["Retry-After"]) > 0
    upstream.set(URL)
    upstream.set(None)
    with pytest.raises(ErrorResponse):
        upstream.require_base_url()
    with pytest.raises(ErrorResponse):
        await upstream.wait(soon(0.01))


async def test_waiting_requests_get_the_address_when_it_is_set() -> None:
    """All of them, and nobody is counted any more."""
    upstream = Upstream(bounds(hold=2))
    waiting = [asyncio.create_task(upstream.wait(soon())) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert upstream.waiting == 2
    upstream.set(URL)
    assert await asyncio.gather(*waiting) == [URL, URL]
    assert upstream.waiting == 0, "a finished wait is still counted"


async def test_no_more_wait_than_may() -> None:
    """One too many is 503 at once; a request that leaves frees its slot."""
    upstream = Upstream(bounds(hold=1))
    first = asyncio.create_task(upstream.wait(soon()))
    await asyncio.sleep(0)
    with pytest.raises(ErrorResponse) as caught:
        await upstream.wait(soon())
    assert caught.value.status == 503
    first.cancel()
    await asyncio.wait([first])
    assert upstream.waiting == 0, "who left is still counted"


async def test_nobody_waits_for_an_engine_that_was_given_up() -> None:
    """Waiting and later requests get 503; a new engine is waited for again."""
    upstream = Upstream(bounds())
    waiting = asyncio.create_task(upstream.wait(soon()))
    await asyncio.sleep(0)
    upstream.mark_failed()
    with pytest.raises(ErrorResponse, match="has failed"):
        await asyncio.wait_for(waiting, scaled(1))
    with pytest.raises(ErrorResponse, match="has failed") as caught:
        await asyncio.wait_for(upstream.wait(soon()), scaled(1))
    assert caught.value.status == 503
    assert "Retry-After" in caught.value.headers
    upstream.set(None)
    waiting = asyncio.create_task(upstream.wait(soon()))
    await asyncio.sleep(0)
    upstream.set(URL)
    assert await waiting == URL


async def test_an_engine_that_goes_again_before_the_waiter_wakes_is_503() -> None:
    """The newest address is returned."""
    upstream = Upstream(bounds())
    waiting = asyncio.create_task(upstream.wait(soon()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    upstream.set(URL)
    upstream.set(None)
    with pytest.raises(ErrorResponse):
        await waiting
