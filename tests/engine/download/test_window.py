"""The window: what is claimed, what is handed on, and in which order."""

from __future__ import annotations

import asyncio

import pytest

from spicy_avocado_magic.engine.download.window import (
    SEGMENT_BYTES,
    WINDOW_BYTES,
    DownloadWindow,
)
from tests.machine_speed import scaled

MEBI = 1 << 20


async def test_segments_follow_each_other_up_to_a_window() -> None:
    """Nothing overlaps, and no claim goes beyond the window."""
    window = DownloadWindow(5, WINDOW_BYTES * 2)
    claimed = [await window.claim() for _ in range(WINDOW_BYTES // SEGMENT_BYTES)]
    ends = [(segment.start, segment.stop) for segment in claimed if segment]
    assert ends[0] == (5, 5 + SEGMENT_BYTES)
    assert ends == [
        (5 + i * SEGMENT_BYTES, 5 + (i + 1) * SEGMENT_BYTES) for i in range(len(ends))
    ]
    waiting = asyncio.create_task(window.claim())
    await asyncio.sleep(0)
    assert not waiting.done(), "a claim went beyond the window"
    window.written(SEGMENT_BYTES)
    more = await asyncio.wait_for(waiting, scaled(1))
    assert more is not None
    assert more.start == ends[-1][1]


async def test_a_window_is_within_what_may_be_lost() -> None:
    """At most 32 MiB are fetched twice after a kill."""
    assert WINDOW_BYTES <= 32 * MEBI


async def test_chunks_come_out_in_order() -> None:
    """Early chunks wait for the ones before them."""
    window = DownloadWindow(0, 2 * SEGMENT_BYTES)
    first, second = await window.claim(), await window.claim()
    assert first is not None
    assert second is not None
    window.add(second, b"b" * SEGMENT_BYTES)
    assert window.take() == []
    window.add(first, b"a")
    assert await window.readable()
    assert window.take() == [b"a"]
    window.add(first, b"a" * (SEGMENT_BYTES - 1))
    assert b"".join(window.take()) == b"a" * (SEGMENT_BYTES - 1) + b"b" * SEGMENT_BYTES
    window.written(2 * SEGMENT_BYTES)
    assert not await window.readable()
    assert await window.claim() is None


async def test_a_segment_given_back_is_claimed_first() -> None:
    """Its bytes are kept."""
    window = DownloadWindow(0, 10 * SEGMENT_BYTES)
    first, second = await window.claim(), await window.claim()
    assert first is not None
    assert second is not None
    window.add(first, b"abc")
    window.give_back(first)
    again = await window.claim()
    assert again is first
    assert first.position == 3


async def test_a_failure_is_raised_to_the_waiting_writer() -> None:
    """The writer does not wait for bytes that will not come."""
    window = DownloadWindow(0, 10)
    waiting = asyncio.create_task(window.readable())
    await asyncio.sleep(0)
    window.fail(ValueError("gone"))
    with pytest.raises(ValueError, match="gone"):
        await asyncio.wait_for(waiting, scaled(1))


async def test_a_whole_file_of_unknown_size_waits_for_capacity() -> None:
    """A fast server does not fill the memory."""
    window = DownloadWindow(0, None)
    segment = await window.claim()
    assert segment is not None
    window.restart(segment, None)
    window.add(segment, bytes(WINDOW_BYTES))
    waiting = asyncio.create_task(window.wait_for_capacity())
    await asyncio.sleep(0)
    assert not waiting.done(), "it would have read on"
    window.written(1)
    await asyncio.wait_for(waiting, scaled(1))
    window.take()
    window.add(segment, b"the end")
    window.end_at(segment.position)
    assert await window.claim() is None, "more was claimed than there is"


async def test_a_size_that_becomes_known_shortens_claimed_segments() -> None:
    """No connection waits for bytes behind the end of the file."""
    window = DownloadWindow(0, None)
    segment = await window.claim()
    assert segment is not None
    window.end_at(100)
    window.add(segment, bytes(100))
    assert segment.is_whole
    assert await window.claim() is None
