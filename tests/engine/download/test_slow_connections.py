"""Which connections are given up on."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest

from spicy_avocado_magic.engine.download.slow_connections import (
    ConnectionTooSlow,
    SlowConnectionDetector,
    is_collapsed,
)
from tests.machine_speed import scaled

MEBI = 1 << 20


@pytest.mark.parametrize(
    ("rate", "finished", "expected"),
    [
        (0.0, [8.0, 8.0, 8.0], True),
        (0.9, [8.0, 8.0, 8.0], True),
        (1.0, [8.0, 8.0, 8.0], False),
        (0.9, [1.0, 8.0, 8.0, 1.0, 1.0], False),
        (0.0, [8.0, 8.0], False),
        (0.0, [], False),
        (0.0, [0.0, 0.0, 8.0], False),
    ],
)
def test_a_rate_far_below_the_median_is_too_slow(
    rate: float, finished: list[float], *, expected: bool
) -> None:
    """Few requests are no evidence, and on a slow link the median is low."""
    assert is_collapsed(rate, deque(finished)) is expected


class Hand:
    """A clock that is set by hand."""

    now_s = 0.0

    def read(self) -> float:
        """Return what it was set to."""
        return self.now_s


async def finish(pace: SlowConnectionDetector, clock: Hand, times: int) -> None:
    """Let some requests transfer a mebibyte in a second."""
    for _ in range(times):
        async with pace.metered() as meter:
            meter.add(MEBI)
            clock.now_s += 1.0


async def test_a_slow_request_is_cancelled_after_a_whole_interval() -> None:
    """A request that has just begun is not compared yet."""
    clock = Hand()
    pace = SlowConnectionDetector(1.0, clock.read)
    await finish(pace, clock, 5)

    async def lag() -> None:
        async with pace.metered():
            pace.compare()
            await asyncio.sleep(0)
            pace.compare()
            await asyncio.sleep(60)

    with pytest.raises(ConnectionTooSlow):
        await asyncio.wait_for(lag(), scaled(5))


async def test_a_request_that_keeps_up_is_left_alone() -> None:
    """So is a request that is somewhat slower than others."""
    clock = Hand()
    pace = SlowConnectionDetector(1.0, clock.read)
    await finish(pace, clock, 5)
    async with pace.metered() as meter:
        for _ in range(5):
            pace.compare()
            meter.add(MEBI // 4)
            await asyncio.sleep(0)


async def test_no_request_is_cancelled_on_a_link_that_is_slow() -> None:
    """The rates of cancelled requests lower the median."""
    clock = Hand()
    pace = SlowConnectionDetector(1.0, clock.read)
    await finish(pace, clock, 5)
    replaced = 0
    for _ in range(50):
        try:
            async with pace.metered():
                pace.compare()
                pace.compare()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                break
        except ConnectionTooSlow:
            replaced += 1
    assert 0 < replaced < 10


async def test_other_timeouts_are_passed_on() -> None:
    """A read that times out by itself raises its own error."""
    with pytest.raises(TimeoutError):
        async with SlowConnectionDetector(1.0, Hand().read).metered():
            raise TimeoutError
