"""Retries of a download; any byte received resets their count."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_combine,
    wait_exponential,
    wait_random,
)

from ...config.timeouts import Timeouts
from ...errors import ComponentFailed

TRIES: Final = 5
"""Attempts in a row without a byte, after which it may be given up."""

T = TypeVar("T")


class RetryableError(Exception):
    """An attempt failed, but another may succeed.

    Args:
        error: Raised if no other attempt succeeds.
        pause_s: Seconds to wait, as the server requests.
    """

    def __init__(self, error: ComponentFailed, *, pause_s: float = 0.0) -> None:
        super().__init__(error)
        self.error = error
        self.pause_s = pause_s


async def retry_while_progressing(
    attempt: Callable[[], Awaitable[T]],
    *,
    position: Callable[[], int] = lambda: 0,
    timeouts: Timeouts,
) -> T:
    """Return the attempt's result; retry with backoff while it raises RetryableError.

    An attempt that raised ``position()`` counts as the first failure: Ollama's own
    puller never resets its count, and so gives up on a link that is often cut but
    works. A pause requested by the server is kept, up to ``timeouts.backoff_max_s``.

    Raises:
        ComponentFailed: The last attempt's error, after ``TRIES`` without a byte. Once
            bytes have come, not before ``timeouts.stalled_s`` without another, since a
            network that has worked comes back.
    """
    clock, moved_at = asyncio.get_running_loop().time, -math.inf
    backoff = wait_combine(
        wait_exponential(timeouts.backoff_first_s, timeouts.backoff_max_s),
        wait_random(0, timeouts.backoff_jitter_s),
    )

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        pause_s = error.pause_s if isinstance(error, RetryableError) else 0.0
        return max(backoff(state), min(pause_s, timeouts.backoff_max_s))

    def stop(state: RetryCallState) -> bool:
        is_stalled = clock() - moved_at >= timeouts.stalled_s
        return state.attempt_number >= TRIES and is_stalled

    retrying = AsyncRetrying(
        retry=retry_if_exception_type(RetryableError),
        stop=stop,
        wait=wait,
        reraise=True,
    )
    try:
        async for trial in retrying:
            with trial:
                before = position()
                try:
                    return await attempt()
                finally:
                    if position() > before:
                        moved_at = clock()
                        trial.retry_state.attempt_number = 1
    except RetryableError as last:
        raise last.error from last.error.__cause__
    raise AssertionError("tenacity raises the last error")
