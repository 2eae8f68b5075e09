"""Address of the engine, and the wait for an engine that is being started."""

from __future__ import annotations

import asyncio

from ..config.limits import Limits
from .error_responses import engine_failed, engine_loading


class Upstream:
    """Address of the engine, while there is one.

    Attributes:
        limits: Of which ``hold``, ``hold_wait_s`` and ``silence_s`` are used.
        waiting: Requests that wait for the engine.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.waiting = 0
        self._base_url: str | None = None
        self._has_failed = False
        self._is_settled = asyncio.Event()

    def set(self, base_url: str | None) -> None:
        """Set the engine's ``http://127.0.0.1:PORT``; None while there is none."""
        self._base_url = base_url and base_url.rstrip("/")
        self._has_failed = False
        if self._base_url is None:
            self._is_settled.clear()
        else:
            self._is_settled.set()

    def mark_failed(self) -> None:
        """Refuse all requests, waiting ones included, until an address is set."""
        self._base_url, self._has_failed = None, True
        self._is_settled.set()

    def require_base_url(self) -> str:
        """Return the engine's address.

        Raises:
            ErrorResponse: 503 while there is none.
        """
        if self._base_url is None:
            raise engine_failed() if self._has_failed else engine_loading()
        return self._base_url

    async def wait(self, deadline: float) -> str:
        """Return the engine's address as soon as there is one.

        Args:
            deadline: By the loop's clock.

        Raises:
            ErrorResponse: 503 at the deadline, if the engine has failed, and if too
                many requests wait already.
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
        return self.require_base_url()
