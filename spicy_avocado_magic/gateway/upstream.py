"""Where the engine is, and the wait for it while it is being started."""

from __future__ import annotations

import asyncio

from ..config.limits import Limits
from .error_responses import engine_failed, engine_loading


class Upstream:
    """The engine's address, which comes and goes.

    Attributes:
        limits: ``hold`` and ``hold_wait_s`` count.
        held: How many requests wait for the engine now.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.waiting = 0
        self._base_url: str | None = None
        self._is_given_up = False
        self._is_settled = asyncio.Event()

    def set(self, base_url: str | None) -> None:
        """Name the engine, ``http://127.0.0.1:PORT``; None while there is none."""
        self._base_url = base_url and base_url.rstrip("/")
        self._is_given_up = False
        if self._base_url is None:
            self._is_settled.clear()
        else:
            self._is_settled.set()

    def mark_failed(self) -> None:
        """Let nobody wait for an engine any more, until it is set again."""
        self._base_url, self._is_given_up = None, True
        self._is_settled.set()

    def base_url(self) -> str:
        """Return the engine's address.

        Raises:
            Refusal: 503 while there is none.
        """
        if self._base_url is None:
            raise engine_failed() if self._is_given_up else engine_loading()
        return self._base_url

    async def wait(self, deadline: float) -> str:
        """Return the engine's address as soon as there is one.

        Args:
            deadline: The latest moment, by the loop's clock.

        Raises:
            Refusal: 503 if there is none by then or it was given up, or too many
                wait already.
        """
        if not self._is_settled.is_set():
            if self.waiting >= self.limits.hold:
                raise engine_loading()
            self.waiting += 1
            try:
                async with asyncio.timeout_at(deadline):
                    await self._is_settled.wait()
            except TimeoutError as error:
                raise engine_loading() from error
            finally:
                self.waiting -= 1
        return self.base_url()
