"""Lifetime of the daemon: its owner, and ``--ttl``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from ..system.processes import Identity
from .context import DaemonContext

_END_IS_NEAR: Final = (
    "The service will soon end (--ttl); %avocado_up --ttl 4h keeps it for 4 hours."
)


class Lifetime:
    """Watch that stops the daemon after its owner has ended, or after ``--ttl``.

    Args:
        context: The context; ``store.ends_at`` is when the time runs out.
        owner: The notebook server or program; None for none.
        end: Called with the reason of the stop.
    """

    def __init__(
        self, context: DaemonContext, owner: Identity | None, end: Callable[[str], None]
    ) -> None:
        self._context, self._owner, self._end = context, owner, end
        self._is_end_near = False

    def watches(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Return the coroutines that run as long as the daemon, by name."""
        return {"owner": self._watch_owner(), "ttl": self._watch_ttl()}

    def restart(self, ttl_s: float) -> None:
        """Set the time to live in seconds from now on; 0 means no limit."""
        now = asyncio.get_running_loop().time()
        self._context.store.ends_at = now + ttl_s if ttl_s else None
        self._warn_of_end()

    async def _watch_owner(self) -> None:
        timeouts = self._context.timeouts
        gone_s = 0.0
        while True:
            await asyncio.sleep(timeouts.owner_check_every_s)
            is_owned = self._owner is None or self._owner.is_alive
            if is_owned or self._context.settings.detach:
                gone_s = 0.0
                continue
            gone_s += timeouts.owner_check_every_s
            if gone_s >= timeouts.owner_gone_s:
                self._end("its owner, the notebook server or program, has ended")

    async def _watch_ttl(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._context.timeouts.heartbeat_s)
            self._warn_of_end()
            ends_at = self._context.store.ends_at
            if ends_at is not None and loop.time() >= ends_at:
                self._end("the time of --ttl is over")

    def _warn_of_end(self) -> None:
        """Warn once the end by ``--ttl`` is near, and only then."""
        store, warn_s = self._context.store, self._context.timeouts.ttl_warn_s
        now = asyncio.get_running_loop().time()
        is_near = store.ends_at is not None and store.ends_at - now <= warn_s
        if is_near != self._is_end_near:
            self._is_end_near = is_near
            store.warn("ttl", *([_END_IS_NEAR] if is_near else []))
