"""Counts and the access log's line."""

from __future__ import annotations

import json
from typing import cast

from aiohttp.abc import AbstractStreamWriter

from spicy_avocado_magic.gateway.metrics import Metrics, access_line


class _Writer:
    output_size = 0


def test_bytes_of_open_and_closed_streams_are_counted_once() -> None:
    """The sum moves while a stream runs and stays when it has ended."""
    metrics = Metrics()
    open_one = _Writer()
    writer = cast("AbstractStreamWriter", open_one)
    metrics.opened(writer)
    open_one.output_size = 7
    assert metrics.bytes_out == 7, "an open stream is not counted"
    metrics.closed(writer)
    assert metrics.bytes_out == 7, "a closed stream is lost or counted twice"


def test_a_log_line_is_one_line_of_ascii() -> None:
    """Nothing that a terminal would obey gets into the log."""
    line = access_line(
        method="GET\x1b[31m\n", route="/é", status=200, elapsed_s=0.0123, sent_bytes=9
    )
    assert line.isascii(), "the line holds more than ASCII"
    assert line.isprintable(), "the line holds control characters"
    assert json.loads(line) == {
        "method": "GET\x1b[31m\n",
        "route": "/é",
        "status": 200,
        "ms": 12.3,
        "bytes": 9,
    }
