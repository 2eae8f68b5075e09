"""What went through the gateway: counts since it was made."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from aiohttp.abc import AbstractStreamWriter

from ..keys import OWNER
from .exchange import Exchange
from .keyring import Caller
from .usage import Usage


@dataclass(slots=True, kw_only=True)
class Use:
    """What one key, or one model, was used for.

    Attributes:
        requests: Let in with a valid key; probes and the open routes are left out.
        tokens_in: Of prompts.
        tokens_out: Of answers.
        is_estimate: Whether some of these tokens were counted by us.
        last: Monotonic time of the last request.
        digest: Of the key; a new key under an old name begins anew.
    """

    requests: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    is_estimate: bool = False
    last: float | None = None
    digest: bytes = b""

    def add(self, usage: Usage) -> None:
        """Add the tokens of one reply."""
        self.tokens_in += usage.tokens_in
        self.tokens_out += usage.tokens_out
        is_some = bool(usage.tokens_in or usage.tokens_out)
        self.is_estimate |= usage.is_estimate and is_some


@dataclass(slots=True, kw_only=True)
class Metrics:
    """Counts since the gateway was made.

    Attributes:
        refused: Turned away at the gate: by origin, host, route, method or key.
        statuses: How often each status was answered.
        last_tunnel_request: Monotonic time of the last one through the public URL.
        keys: Use by the name of the key.
        models: Use by the short name of the model.
        open: Requests that are not yet answered in full.
    """

    refused: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    last_tunnel_request: float | None = None
    keys: dict[str, Use] = field(default_factory=dict)
    models: dict[str, Use] = field(default_factory=dict)
    open: dict[Exchange, AbstractStreamWriter] = field(default_factory=dict)
    _sent_bytes: int = 0

    @property
    def requests(self) -> int:
        """Let in with a valid key (all on such routes, under ``--no-auth``)."""
        return sum(use.requests for use in self.keys.values())

    @property
    def in_flight(self) -> int:
        """Let in, and not yet answered in full."""
        return sum(exchange.is_counted for exchange in self.open)

    @property
    def bytes_out(self) -> int:
        """Bytes sent to clients, heads included, those of open streams too."""
        return self._sent_bytes + sum(w.output_size for w in self.open.values())

    def tokens_of(self, key: str) -> int:
        """Return the tokens, in and out, that a key has used, also those of now."""
        use = self.keys.get(key, Use())
        running = sum(
            exchange.meter.counted
            for exchange in self.open
            if exchange.caller is not None and exchange.caller.digest == use.digest
        )
        return use.tokens_in + use.tokens_out + running

    def restore(self, key: str, use: Use) -> None:
        """Count on from what a key has used before."""
        self.keys[key] = use

    def opened(self, exchange: Exchange, writer: AbstractStreamWriter) -> None:
        """Count what is written here from now on, at no cost a chunk."""
        self.open[exchange] = writer

    def admitted(self, exchange: Exchange) -> None:
        """Count a request that is let in with a key."""
        assert exchange.caller is not None
        exchange.is_counted = True
        use = self._use_of(exchange.caller)
        use.requests += 1
        use.last = time.monotonic()

    def closed(self, exchange: Exchange) -> None:
        """Keep what was written and used, let go of the writer."""
        self._sent_bytes += self.open.pop(exchange).output_size
        self.statuses[exchange.status] += 1
        if not exchange.is_counted or exchange.caller is None:
            return
        usage = exchange.meter.usage()
        use = self.keys.get(exchange.caller.name)
        # A key that was taken back meanwhile, or replaced, is not charged.
        if use is not None and use.digest == exchange.caller.digest:
            use.add(usage)
        if exchange.model:
            model = self.models.setdefault(exchange.model, Use())
            model.requests += 1
            model.last = time.monotonic()
            model.add(usage)

    def _use_of(self, caller: Caller) -> Use:
        use = self.keys.get(caller.name)
        if use is None or (use.digest != caller.digest and caller.name != OWNER):
            use = self.keys[caller.name] = Use()
        use.digest = caller.digest
        return use
