"""What several requests of one key use together."""

from __future__ import annotations

from typing import Any, cast

from spicy_avocado_magic.gateway.authentication import Caller
from spicy_avocado_magic.gateway.counters import Metrics
from spicy_avocado_magic.gateway.request_context import RequestContext
from spicy_avocado_magic.gateway.revocation import cancel_over_quota

from .fake_requests import make_context

LINE = b'{"response":"x","done":false}\n'


class _Task:
    """Stands in for what serves a request."""

    is_cancelled = False
    output_size = 0

    def cancel(self) -> None:
        self.is_cancelled = True


def _open(metrics: Metrics, caller: Caller | None, lines: int) -> RequestContext:
    task = cast("Any", _Task())
    exchange = make_context(caller, model="tiny", task=task)
    metrics.request_started(exchange)
    if caller is not None:
        metrics.admitted(exchange)
    for _ in range(lines):
        exchange.record_chunk(LINE)
    return exchange


def test_only_the_requests_of_a_key_that_is_used_up_are_ended() -> None:
    """Those of other keys, without a bound or without a key, go on."""
    metrics = Metrics()
    ann = Caller(name="ann", tokens=10, digest=b"a")
    bob = Caller(name="bob", tokens=13, digest=b"b")
    over = [_open(metrics, ann, 6), _open(metrics, ann, 4)]
    others = [
        _open(metrics, bob, 12),
        _open(metrics, Caller(name="owner", digest=b"o"), 50),
        _open(metrics, None, 50),
    ]
    cancel_over_quota(metrics)
    assert all(
        e.cancelled_by is not None and e.cancelled_by.status == 429 for e in over
    )
    assert not any(e.cancelled_by for e in others), "the wrong request was ended"


def test_what_was_used_before_counts_with_what_is_used_now() -> None:
    """The bound is over the key's lifetime."""
    metrics = Metrics()
    ann = Caller(name="ann", tokens=10, digest=b"a")
    metrics.request_finished(_open(metrics, ann, 6))
    now = _open(metrics, ann, 4)
    cancel_over_quota(metrics)
    assert now.cancelled_by is not None, "what was used before is forgotten"


def test_a_late_request_of_an_old_key_leaves_the_new_ones_use_alone() -> None:
    """It may wait for a client that does not read, long after its key has gone."""
    metrics = Metrics()
    old, new = (Caller(name="ann", tokens=10, digest=d) for d in (b"old", b"new"))
    _open(metrics, old, 3)
    metrics.request_finished(_open(metrics, new, 6))
    used = metrics.tokens_of(new)
    cancel_over_quota(metrics)
    assert metrics.tokens_of(old) == 3
    assert metrics.tokens_of(new) == used > 0, "the new key's use was wiped out"


def test_a_request_that_has_used_nothing_yet_goes_on() -> None:
    """It is refused or served by what was left when it began."""
    metrics = Metrics()
    ann = Caller(name="ann", tokens=10, digest=b"a")
    metrics.request_finished(_open(metrics, ann, 60))
    now = _open(metrics, ann, 0)
    cancel_over_quota(metrics)
    assert now.cancelled_by is None
