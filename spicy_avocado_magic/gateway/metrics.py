"""What went through the gateway: counts since it was made."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from aiohttp.abc import AbstractStreamWriter

from ..config.api_keys import ANONYMOUS, OWNER
from ..protocol.usage import TokenUsage
from .authentication import Caller
from .request_context import RequestContext

FIRST_TOKEN_BOUNDS_S: Final = (
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
    *(5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""Upper bounds of the histogram's buckets, but for the last, which has none."""
RATE_WINDOW_S: Final = 10.0
"""What *now* means for tokens a second."""
MOST_MODELS: Final = 100
"""Counted each by itself; those beyond are counted together."""
OTHERS: Final = "(others)"
_WAITS_KEPT: Final = 256


@dataclass(slots=True, kw_only=True)
class UsageCounter:
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

    def begin(self, now: float) -> None:
        """Count a request."""
        self.requests += 1
        self.last = now

    def add(self, usage: TokenUsage) -> None:
        """Add the tokens of one reply."""
        self.tokens_in += usage.tokens_in
        self.tokens_out += usage.tokens_out
        is_some = bool(usage.tokens_in or usage.tokens_out)
        self.is_estimate |= usage.is_estimate and is_some


@dataclass(slots=True)
class TimeToFirstToken:
    """How long clients of streams waited for the first byte of the model's answer.

    Attributes:
        buckets: How many waits ended within each of the bounds, or beyond them.
        sum_s: Of all waits.
    """

    buckets: list[int] = field(
        default_factory=lambda: [0] * (len(FIRST_TOKEN_BOUNDS_S) + 1)
    )
    sum_s: float = 0.0
    _last: deque[float] = field(default_factory=lambda: deque(maxlen=_WAITS_KEPT))

    def add(self, wait_s: float) -> None:
        """Count one wait."""
        self.buckets[bisect_left(FIRST_TOKEN_BOUNDS_S, wait_s)] += 1
        self.sum_s += wait_s
        self._last.append(wait_s)

    def quantile_s(self, share: float) -> float | None:
        """Return what this share of the last waits did not exceed, None without any."""
        ordered = sorted(self._last)
        return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


@dataclass(slots=True, kw_only=True)
class Metrics:
    """Counts since the gateway was made.

    Attributes:
        clock: Monotonic time.
        refused: Turned away at the gate: by origin, host, route, method or key.
        statuses: How often each status was answered.
        public_requests: Answered through the public URL, refused ones included.
        total: What all keys together, those gone included, were used for.
        waits: For the first token.
        last_tunnel_request: Monotonic time of the last one through the public URL.
        keys: Use by the name of the key.
        models: Use by the short name of the model.
        open: Requests that are not yet answered in full.
    """

    clock: Callable[[], float] = time.monotonic
    refused: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    public_requests: int = 0
    total: UsageCounter = field(default_factory=UsageCounter)
    waits: TimeToFirstToken = field(default_factory=TimeToFirstToken)
    last_tunnel_request: float | None = None
    keys: dict[str, UsageCounter] = field(default_factory=dict)
    models: dict[str, UsageCounter] = field(default_factory=dict)
    open: dict[RequestContext, AbstractStreamWriter] = field(default_factory=dict)
    _sent_bytes: int = 0
    _sent_public_bytes: int = 0
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def requests(self) -> int:
        """Let in with a valid key (all on such routes, under ``--no-auth``)."""
        return self.total.requests

    @property
    def in_flight(self) -> int:
        """Let in, and not yet answered in full."""
        return sum(exchange.is_counted for exchange in self.open)

    @property
    def is_client_slow(self) -> bool:
        """Whether a client does not take what is sent to it: so its engine waits."""
        transports = [getattr(w, "transport", None) for w in self.open.values()]
        return any(t is not None and t.get_write_buffer_size() for t in transports)

    @property
    def bytes_out(self) -> int:
        """Bytes sent to clients, heads included, those of open streams too."""
        return self._sent_bytes + sum(w.output_size for w in self.open.values())

    @property
    def public_bytes_out(self) -> int:
        """The same, of requests through the public URL alone."""
        return self._sent_public_bytes + sum(
            w.output_size for exchange, w in self.open.items() if exchange.is_public
        )

    @property
    def tokens_a_second(self) -> float:
        """Tokens of answers a second, over the last seconds, open streams included."""
        if not self._samples:
            return 0.0
        first_s, first_tokens = self._samples[0]
        span_s = self.clock() - first_s
        return max(0, self._tokens_out() - first_tokens) / span_s if span_s > 0 else 0.0

    def tick(self) -> None:
        """Take a sample, once a second or so: the rate is that of the last ones."""
        now = self.clock()
        self._samples.append((now, self._tokens_out()))
        while now - self._samples[0][0] > RATE_WINDOW_S:
            self._samples.popleft()

    def tokens_of(self, caller: Caller) -> int:
        """Return the tokens, in and out, that a caller's key has used, also now."""
        use = self.keys.get(caller.name)
        if use is None or use.digest != caller.digest:
            use = (
                UsageCounter()
            )  # of another key under that name, which must not be touched
        running = sum(
            exchange.meter.event_count
            for exchange in self.open
            if exchange.caller is not None and exchange.caller.digest == caller.digest
        )
        return use.tokens_in + use.tokens_out + running

    def restore(self, key: str, use: UsageCounter) -> None:
        """Count on from what a key has used before."""
        self.keys[key] = use

    def retain_keys(self, names: Collection[str]) -> None:
        """Forget the use of keys that are gone; the sums of all keys stay."""
        known = {OWNER, ANONYMOUS, *names}
        self.keys = {name: use for name, use in self.keys.items() if name in known}

    def request_started(
        self, exchange: RequestContext, writer: AbstractStreamWriter
    ) -> None:
        """Count what is written here from now on, at no cost a chunk."""
        self.open[exchange] = writer

    def admitted(self, exchange: RequestContext) -> None:
        """Count a request that is let in with a key."""
        assert exchange.caller is not None
        exchange.is_counted = True
        now = self.clock()
        self.total.begin(now)
        self._use_of(exchange.caller).begin(now)

    def request_finished(self, exchange: RequestContext) -> None:
        """Keep what was written and used, let go of the writer."""
        sent_bytes = self.open.pop(exchange).output_size
        self._sent_bytes += sent_bytes
        self.statuses[exchange.status] += 1
        if exchange.is_public:
            self.public_requests += 1
            self._sent_public_bytes += sent_bytes
        if not exchange.is_counted or not exchange.model or exchange.caller is None:
            return
        usage = exchange.usage = exchange.meter.usage()
        self.total.add(usage)
        use = self.keys.get(exchange.caller.name)
        # A key that was revoked meanwhile, or replaced by another, is not charged.
        if use is not None and use.digest == exchange.caller.digest:
            use.add(usage)
        model = self._use_of_model(exchange.model)
        model.begin(self.clock())
        model.add(usage)
        if exchange.time_to_first_token_s is not None:
            self.waits.add(exchange.time_to_first_token_s)

    def _use_of(self, caller: Caller) -> UsageCounter:
        use = self.keys.get(caller.name)
        if use is None:
            use = self.keys[caller.name] = UsageCounter(digest=caller.digest)
        elif use.digest != caller.digest:
            if caller.name != OWNER:
                use = self.keys[caller.name] = UsageCounter()
            use.digest = caller.digest
        return use

    def _use_of_model(self, name: str) -> UsageCounter:
        """Return a model's use, by one name whatever the case, as the engine does."""
        name = name.lower()
        if name not in self.models and len(self.models) >= MOST_MODELS:
            name = OTHERS
        return self.models.setdefault(name, UsageCounter())

    def _tokens_out(self) -> int:
        """Return all tokens of answers, those of open streams too."""
        live = sum(e.meter.event_count for e in self.open if e.is_counted and e.model)
        return self.total.tokens_out + live
