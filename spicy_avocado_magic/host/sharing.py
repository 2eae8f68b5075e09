"""Who else is let in: keys that are given and taken back while all else goes on."""

from __future__ import annotations

import asyncio
import time

from ..config.api_key_options import Grant
from ..config.settings import Settings
from ..gateway.revocation import end_overdrawn
from ..protocol.state import KeyState
from .context import Context
from .gateway_life import GatewayLife
from .shared_keys import key_states, with_new_key, without_key
from .wanted import store_wanted


class Sharing:
    """Changes the named keys of a running host, and nothing besides."""

    def __init__(self, context: Context, gateway: GatewayLife) -> None:
        self._context, self._gateway = context, gateway

    async def watch(self) -> None:
        """Hold what several requests use together against their key's bound."""
        while True:
            await asyncio.sleep(self._context.policy.overdraft_every_s)
            end_overdrawn(self._gateway.gateway.metrics)

    def states(self) -> tuple[KeyState, ...]:
        """Return every key with its limits and use; no secret is in it."""
        metrics = self._gateway.gateway.metrics
        return key_states(self._context.settings, metrics, time.time())

    def add(self, grant: Grant) -> str:
        """Let somebody in from now on; return the secret of the new key.

        Raises:
            UsageMistake: If there can be no such key.
        """
        settings, key = with_new_key(self._context.settings, grant, time.time())
        self._become(settings, key.name)
        self._context.log(f"a key was given to {key.name}")
        return key.secret

    def revoke(self, name: str) -> None:
        """Let a key in no more, and end what is open with it.

        Raises:
            UsageMistake: If there is none of that name.
        """
        self._become(without_key(self._context.settings, name), name)
        self._context.log(f"the key of {name} was taken back")

    def _become(self, settings: Settings, name: str) -> None:
        # Stored first: what a full disk does not take must not hold either.
        store_wanted(self._context, settings)
        self._context.settings = settings
        self._gateway.refresh()
        self._gateway.gateway.metrics.keys.pop(name, None)
