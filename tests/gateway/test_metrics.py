"""Counts of what went through the gateway."""

from __future__ import annotations

from typing import cast

from aiohttp.abc import AbstractStreamWriter

from spicy_avocado_magic.gateway.exchange import Exchange
from spicy_avocado_magic.gateway.metrics import Metrics


class _Writer:
    output_size = 0


def test_bytes_of_open_and_closed_streams_are_counted_once() -> None:
    """The sum moves while a stream runs and stays when it has ended."""
    metrics = Metrics()
    open_one, exchange = _Writer(), Exchange(method="GET")
    metrics.opened(exchange, cast("AbstractStreamWriter", open_one))
    open_one.output_size = 7
    assert metrics.bytes_out == 7, "an open stream is not counted"
    metrics.closed(exchange)
    assert metrics.bytes_out == 7, "a closed stream is lost or counted twice"
