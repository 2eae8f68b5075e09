"""The access log's line."""

from __future__ import annotations

import json

from spicy_avocado_magic.gateway.access_log import access_line
from spicy_avocado_magic.gateway.exchange import Exchange


def test_a_log_line_is_one_line_of_ascii() -> None:
    """Nothing that a terminal would obey gets into the log."""
    exchange = Exchange(method="GET\x1b[31m\n", route="/é", status=200)
    line = access_line(exchange, sent_bytes=9)
    assert line.isascii(), "the line holds more than ASCII"
    assert line.isprintable(), "the line holds control characters"
    told = json.loads(line)
    assert (told["method"], told["route"]) == ("GET\x1b[31m\n", "/é")
    assert (told["status"], told["bytes"]) == (200, 9)
