"""Retries that forget old failures once bytes flow again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from ..errors import ComponentFailed
from ..policy import Policy

TRIES: Final = 5
"""Attempts in a row that bring nothing, before it is given up."""


class Interrupted(Exception):
    """An attempt ended early but another may go on; carries what to say if not."""

    def __init__(self, error: ComponentFailed) -> None:
        super().__init__(error)
        self.error = error


async def keep_trying(
    attempt: Callable[[], Awaitable[None]],
    *,
    position: Callable[[], int],
    policy: Policy,
) -> None:
    """Repeat an attempt that raises ``Interrupted``, with growing pauses.

    An attempt after which ``position()`` is higher than before counts as the
    first failure: Ollama's own puller never forgets one, and so gives up on a
    link that is cut often but works.

    Raises:
        ComponentFailed: The last attempt's error, after ``TRIES`` without a byte.
    """
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(Interrupted),
        stop=stop_after_attempt(TRIES),
        wait=wait_exponential(policy.backoff_first_s, policy.backoff_max_s)
        + wait_random(0, policy.backoff_jitter_s),
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
                        trial.retry_state.attempt_number = 1
    except Interrupted as interrupted:
        raise interrupted.error from interrupted.error.__cause__
