"""How long the host lives: with its owner, and for its time to live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

from ..system.processes import Identity
from .context import DaemonContext

_END_IS_NEAR: Final = (
    "It will soon end by itself (--ttl); %avocado_up --ttl 4h keeps it for 4 hours."
)


class Lifetime:
    """Ends the host when nobody owns it any more, or when its time has run out.

    Args:
        context: What the host knows; ``board.ends_at`` is when its time runs out.
        owner: The notebook server or program; None where there is none to outlive.
        end: Told why the host has to end.
    """

    def __init__(
        self, context: DaemonContext, owner: Identity | None, end: Callable[[str], None]
    ) -> None:
        self._context, self._owner, self._end = context, owner, end
        self._is_end_near = False

    def watches(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Return what has to run as long as the host does, by name."""
        return {"owner": self._watch_owner(), "ttl": self._watch_ttl()}

    def restart(self, ttl_s: float) -> None:
        """Let the host live for so long (seconds) from now on; 0 is without limit."""
        now = asyncio.get_running_loop().time()
        self._context.store.ends_at = now + ttl_s if ttl_s else None
        self._warn_of_end()

    async def _watch_owner(self) -> None:
        policy = self._context.timeouts
        gone_s = 0.0
        while True:
            await asyncio.sleep(policy.owner_check_every_s)
            is_owned = self._owner is None or self._owner.is_alive
            if is_owned or self._context.settings.detach:
                gone_s = 0.0
                continue
            gone_s += policy.owner_check_every_s
            if gone_s >= policy.owner_gone_s:
                self._end("its owner, the notebook server or program, has gone")

    async def _watch_ttl(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._context.timeouts.heartbeat_s)
            self._warn_of_end()
            ends_at = self._context.store.ends_at
            if ends_at is not None and loop.time() >= ends_at:
                self._end("its time to live ran out")

    def _warn_of_end(self) -> None:
        """Warn of the end by ``--ttl`` once it is near, and only then."""
        board, warn_s = self._context.store, self._context.timeouts.ttl_warn_s
        now = asyncio.get_running_loop().time()
        is_near = board.ends_at is not None and board.ends_at - now <= warn_s
        if is_near != self._is_end_near:
            self._is_end_near = is_near
            board.warn("ttl", *([_END_IS_NEAR] if is_near else []))
