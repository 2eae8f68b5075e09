"""Retries that forget old failures once bytes flow again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

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
"""Attempts in a row that bring nothing, before it may be given up."""


class RetryableError(Exception):
    """An attempt ended early but another may go on.

    Args:
        error: What to say if no other does.
        pause_s: Seconds that the server asks to wait.
    """

    def __init__(self, error: ComponentFailed, *, pause_s: float = 0.0) -> None:
        super().__init__(error)
        self.error = error
        self.pause_s = pause_s


async def retry_while_progressing(
    attempt: Callable[[], Awaitable[None]],
    *,
    position: Callable[[], int],
    timeouts: Timeouts,
) -> None:
    """Repeat an attempt that raises ``RetryableError``, with growing pauses.

    An attempt after which ``position()`` is higher than before counts as the
    first failure: Ollama's own puller never forgets one, and so gives up on a
    link that is cut often but works. A pause that the server asks for is kept, up
    to ``timeouts.backoff_max_s``.

    Raises:
        ComponentFailed: The last attempt's error, after ``TRIES`` without a byte;
            where bytes have come, not before ``timeouts.stalled_s`` without another,
            since a network that has worked comes back.
    """
    clock, moved_at = asyncio.get_running_loop().time, -math.inf
    growing = wait_combine(
        wait_exponential(timeouts.backoff_first_s, timeouts.backoff_max_s),
        wait_random(0, timeouts.backoff_jitter_s),
    )

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked_s = error.pause_s if isinstance(error, RetryableError) else 0.0
        return max(growing(state), min(asked_s, timeouts.backoff_max_s))

    def stop(state: RetryCallState) -> bool:
        is_patience_over = clock() - moved_at >= timeouts.stalled_s
        return state.attempt_number >= TRIES and is_patience_over

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
                    await attempt()
                finally:
                    if position() > before:
                        moved_at = clock()
                        trial.retry_state.attempt_number = 1
    except RetryableError as interrupted:
        raise interrupted.error from interrupted.error.__cause__
