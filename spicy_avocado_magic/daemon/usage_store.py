"""Usage of each named key on disk, so that it outlives a killed daemon."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..config.api_keys import ApiKey, key_digest
from ..gateway.counters import UsageCounter
from ..protocol.json_codec import from_json, to_json
from ..protocol.state_folder import read_private, write_private
from ..protocol.usage import UsageTotals, shared_fields
from .components.gateway import GatewayComponent
from .context import DaemonContext


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry(UsageTotals):
    """Usage of one key, by name and id: a new key of the same name starts at zero."""

    name: str
    id: str
    last_at: float | None = None
    """Time of the last request, in seconds since the epoch."""


class UsageStore:
    """Saved counts of the gateway, restored by the next daemon.

    The usage of the seconds before a daemon is killed may be lost. The file holds no
    secret.
    """

    def __init__(self, context: DaemonContext, gateway: GatewayComponent) -> None:
        self._context, self._gateway = context, gateway
        self._written = ""

    def restore(self) -> None:
        """Continue from the counts of an earlier daemon."""
        metrics = self._gateway.gateway.metrics
        keys = {(key.name, key.id): key for key in self._context.settings.keys}
        # The difference between the two clocks is constant.
        ago_s = time.time() - time.monotonic()
        for entry in self._read():
            key = keys.get((entry.name, entry.id))
            if key is None:
                continue
            metrics.keys[entry.name] = UsageCounter(
                **shared_fields(entry, UsageTotals),
                last=None if entry.last_at is None else entry.last_at - ago_s,
                digest=key_digest(key.secret),
            )

    def _read(self) -> list[_Entry]:
        # A file that is unreadable was cut short by a full disk.
        with contextlib.suppress(ValueError, TypeError):
            entries = json.loads(read_private(self._context.folder.usage) or "[]")
            return [from_json(_Entry, entry) for entry in entries]
        return []

    async def save_periodically(self) -> None:
        """Save every ``usage_every_s`` seconds, until cancelled."""
        while True:
            await asyncio.sleep(self._context.timeouts.usage_every_s)
            self.save()

    def save(self) -> None:
        """Write the file in one step, if anything has changed."""
        keys, used = self._context.settings.keys, self._gateway.gateway.metrics.keys
        text = json.dumps([to_json(entry) for entry in _entries(keys, used)])
        if text == self._written:
            return
        try:
            write_private(self._context.folder.usage, text)
        except OSError as error:
            self._context.log(f"could not save the usage of keys: {error}")
            return
        self._written = text


def _entries(
    keys: tuple[ApiKey, ...], used: Mapping[str, UsageCounter]
) -> list[_Entry]:
    ago_s = time.time() - time.monotonic()
    return [
        _Entry(
            name=key.name,
            id=key.id,
            **shared_fields(use, UsageTotals),
            last_at=None if use.last is None else round(ago_s + use.last),
        )
        for key in keys
        if (use := used.get(key.name)) is not None
    ]
