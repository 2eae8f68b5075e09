"""When it is tried again, and when it is given up."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.engine.download.retry import (
    TRIES,
    RetryableError,
    retry_while_progressing,
)
from spicy_avocado_magic.errors import DownloadFailed


class Link:
    """A connection that brings so many bytes at each attempt, then breaks."""

    def __init__(self, *brings: int) -> None:
        self.brings = list(brings)
        self.position = 0
        self.attempts = 0

    async def attempt(self) -> None:
        """Bring what is next; succeed when there is nothing left to bring."""
        self.attempts += 1
        if not self.brings:
            return
        self.position += self.brings.pop(0)
        raise RetryableError(DownloadFailed("Cut.", "Again."))


async def keep(link: Link, timeouts: Timeouts) -> None:
    """Try until the link has brought all."""
    await retry_while_progressing(
        link.attempt, position=lambda: link.position, timeouts=timeouts
    )


async def test_failures_in_a_row_without_a_byte_are_the_end(timeouts: Timeouts) -> None:
    """The attempt's own error is what the caller sees."""
    link = Link(*[0] * 50)
    with pytest.raises(DownloadFailed, match=r"Cut\."):
        await keep(link, timeouts)
    assert link.attempts == TRIES


async def test_a_byte_forgets_the_failures_before_it(timeouts: Timeouts) -> None:
    """Failures count only in a row."""
    link = Link(*[0, 0, 0, 1] * 5)
    await keep(link, timeouts)
    assert link.attempts == 21


async def test_what_has_brought_bytes_is_given_up_only_after_long_silence(
    timeouts: Timeouts,
) -> None:
    """A network that was there may be away for longer than a few tries take."""
    link = Link(1, *[0] * 30)
    await keep(link, replace(timeouts, backoff_max_s=0.01, stalled_s=60.0))
    assert link.attempts == 32, "it was given up while the network was away"
    gone = Link(1, *[0] * 500)
    with pytest.raises(DownloadFailed, match=r"Cut\."):
        await keep(gone, replace(timeouts, backoff_max_s=0.01, stalled_s=0.1))
    assert gone.attempts > TRIES


async def test_other_errors_are_not_tried_again(timeouts: Timeouts) -> None:
    """Only an interruption is worth another attempt."""

    async def fail() -> None:
        raise DownloadFailed("Never.", "Nothing.")

    with pytest.raises(DownloadFailed, match=r"Never\."):
        await retry_while_progressing(fail, position=lambda: 0, timeouts=timeouts)


@pytest.mark.parametrize(("asked_s", "kept_s"), [(0.03, 0.03), (3600.0, 0.05)])
async def test_a_pause_that_is_asked_for_is_kept_within_bounds(
    timeouts: Timeouts, asked_s: float, kept_s: float
) -> None:
    """A server may ask for more time than the backoff, but not for an hour."""
    attempts: list[float] = []
    loop = asyncio.get_running_loop()

    async def refuse_once() -> None:
        attempts.append(loop.time())
        if len(attempts) == 1:
            raise RetryableError(DownloadFailed("Busy.", "Again."), pause_s=asked_s)

    await retry_while_progressing(refuse_once, position=lambda: 0, timeouts=timeouts)
    assert kept_s <= attempts[1] - attempts[0] + 0.001, "it came back too soon"
