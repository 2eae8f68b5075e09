"""Counters of requests, tokens and bytes since the gateway was created."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from ..config.api_keys import ANONYMOUS, OWNER
from ..protocol.usage import TokenUsage
from .authentication import Caller
from .request_context import RequestContext

FIRST_TOKEN_BOUNDS_S: Final = (
    *(0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
    *(5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)
"""Upper bounds of the histogram's buckets; the last bucket has none."""
RATE_WINDOW_S: Final = 10.0
"""Over which tokens a second are averaged."""
MOST_MODELS: Final = 100
"""Counted separately; all further ones are counted as ``OTHERS``."""
OTHERS: Final = "(others)"
_WAITS_KEPT: Final = 256


@dataclass(slots=True, kw_only=True)
class UsageCounter:
    """Running ``UsageTotals`` of one key or model.

    Attributes:
        last: Monotonic time of the last request.
        digest: Of the key; a new key under an old name starts at zero.
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
        """Add the tokens of one response."""
        self.tokens_in += usage.tokens_in
        self.tokens_out += usage.tokens_out
        has_tokens = bool(usage.tokens_in or usage.tokens_out)
        self.is_estimate |= usage.is_estimate and has_tokens


@dataclass(slots=True)
class TimeToFirstToken:
    """Histogram of the time until the first byte of a stream.

    Attributes:
        buckets: Number of times within each of the bounds, and beyond the last.
        sum_s: Of all times.
    """

    buckets: list[int] = field(
        default_factory=lambda: [0] * (len(FIRST_TOKEN_BOUNDS_S) + 1)
    )
    sum_s: float = 0.0
    _last: deque[float] = field(default_factory=lambda: deque(maxlen=_WAITS_KEPT))

    def add(self, wait_s: float) -> None:
        """Count one time."""
        self.buckets[bisect_left(FIRST_TOKEN_BOUNDS_S, wait_s)] += 1
        self.sum_s += wait_s
        self._last.append(wait_s)

    def quantile_s(self, share: float) -> float | None:
        """Return a quantile of the recent times, None if there are none."""
        ordered = sorted(self._last)
        return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


@dataclass(slots=True, kw_only=True)
class Metrics:
    """All counters of one gateway.

    Attributes:
        clock: Monotonic time.
        refused: Requests refused by origin, host, route, method or key.
        statuses: Number of responses by status.
        public_requests: Finished ones through the public URL, refused ones included.
        total: Use of all keys together, deleted ones included.
        waits: For the first token.
        last_tunnel_request: Monotonic time of the last one through the public URL.
        keys: Use by the name of the key.
        models: Use by the short name of the model.
        open: Requests without a complete response.
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
    open: set[RequestContext] = field(default_factory=set)
    _sent_bytes: int = 0
    _sent_public_bytes: int = 0
    _samples: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def requests(self) -> int:
        """Requests with a valid key; all on such routes under ``--no-auth``."""
        return self.total.requests

    @property
    def in_flight(self) -> int:
        """Authorized requests without a complete response."""
        return sum(context.is_counted for context in self.open)

    @property
    def is_client_slow(self) -> bool:
        """Whether a client does not read its response, so that the engine waits."""
        transports = [getattr(c.request.writer, "transport", None) for c in self.open]
        return any(t is not None and t.get_write_buffer_size() for t in transports)

    @property
    def bytes_out(self) -> int:
        """Bytes sent to clients, headers and open streams included."""
        return self._sent_bytes + sum(c.request.writer.output_size for c in self.open)

    @property
    def public_bytes_out(self) -> int:
        """Bytes sent to clients through the public URL."""
        return self._sent_public_bytes + sum(
            c.request.writer.output_size for c in self.open if c.is_public
        )

    @property
    def tokens_a_second(self) -> float:
        """Tokens of responses a second, open streams included."""
        if not self._samples:
            return 0.0
        first_s, first_tokens = self._samples[0]
        span_s = self.clock() - first_s
        return max(0, self._tokens_out() - first_tokens) / span_s if span_s > 0 else 0.0

    @property
    def samples(self) -> int:
        """Number of samples kept for ``tokens_a_second``."""
        return len(self._samples)

    def tick(self) -> None:
        """Sample the tokens; to be called about once a second."""
        now = self.clock()
        self._samples.append((now, self._tokens_out()))
        while now - self._samples[0][0] > RATE_WINDOW_S:
            self._samples.popleft()

    def tokens_of(self, caller: Caller) -> int:
        """Return the tokens of a caller's key, in and out, open requests included."""
        use = self.keys.get(caller.name)
        finished = 0
        if use is not None and use.digest == caller.digest:
            finished = use.tokens_in + use.tokens_out
        return finished + sum(
            context.tokens.event_count
            for context in self.open
            if context.caller is not None and context.caller.digest == caller.digest
        )

    def retain_keys(self, names: Collection[str]) -> None:
        """Drop the counters of deleted keys; the totals of all keys stay."""
        known = {OWNER, ANONYMOUS, *names}
        self.keys = {name: use for name, use in self.keys.items() if name in known}

    def request_started(self, context: RequestContext) -> None:
        """Count what is written to this request from now on, at no cost per chunk."""
        self.open.add(context)

    def admitted(self, context: RequestContext) -> None:
        """Count an authorized request."""
        assert context.caller is not None
        context.is_counted = True
        now = self.clock()
        self.total.begin(now)
        self._counter_of(context.caller).begin(now)

    def request_finished(self, context: RequestContext) -> None:
        """Add the bytes and tokens of a finished request to the totals."""
        self.open.remove(context)
        sent_bytes = context.request.writer.output_size
        self._sent_bytes += sent_bytes
        self.statuses[context.status] += 1
        if context.is_public:
            self.public_requests += 1
            self._sent_public_bytes += sent_bytes
        if not context.is_counted or not context.model or context.caller is None:
            return
        usage = context.usage = context.tokens.usage()
        self.total.add(usage)
        use = self.keys.get(context.caller.name)
        # A key that was revoked or replaced meanwhile is not charged.
        if use is not None and use.digest == context.caller.digest:
            use.add(usage)
        model = self._counter_of_model(context.model)
        model.begin(self.clock())
        model.add(usage)
        if context.time_to_first_token_s is not None:
            self.waits.add(context.time_to_first_token_s)

    def _counter_of(self, caller: Caller) -> UsageCounter:
        use = self.keys.get(caller.name)
        if use is None:
            use = self.keys[caller.name] = UsageCounter(digest=caller.digest)
        elif use.digest != caller.digest:
            if caller.name != OWNER:
                use = self.keys[caller.name] = UsageCounter()
            use.digest = caller.digest
        return use

    def _counter_of_model(self, name: str) -> UsageCounter:
        name = name.lower()  # as the engine does
        if name not in self.models and len(self.models) >= MOST_MODELS:
            name = OTHERS
        return self.models.setdefault(name, UsageCounter())

    def _tokens_out(self) -> int:
        """Return the tokens of all responses, open streams included."""
        live = sum(c.tokens.event_count for c in self.open if c.is_counted and c.model)
        return self.total.tokens_out + live
