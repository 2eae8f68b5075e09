"""What ends a stream of events, in each API that has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spicy_avocado_magic.gateway.response import is_stream_complete

RECORDED = json.loads(Path(__file__).with_name("recorded_replies.json").read_text())
ROUTES = {
    "v1-chat": "/v1/chat/completions",
    "v1-chat-usage": "/v1/chat/completions",
    "v1-completions": "/v1/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
}
STREAMS = [
    (ROUTES[name], reply["body"].encode())
    for replies in RECORDED.values()
    for name, reply in replies.items()
    if name in ROUTES
]


@pytest.mark.parametrize(("route", "stream"), STREAMS)
def test_what_engines_were_heard_to_say_is_whole_and_half_of_it_is_not(
    route: str, stream: bytes
) -> None:
    """Recorded of real engines, and cut at each event but the last ones."""
    assert is_stream_complete(route, stream[-500:]), f"taken for cut: {stream[-500:]!r}"
    *events, _last, _nothing = stream.split(b"\n\n")
    for count in range(1, len(events)):
        cut = b"\n\n".join(events[:count])
        assert not is_stream_complete(route, cut[-500:]), (
            f"taken for whole: {cut[-500:]!r}"
        )


@pytest.mark.parametrize(
    ("route", "error"),
    [
        ("/v1/chat/completions", b'data: {"error":{"message":"no"}}\n\n'),
        ("/v1/messages", b'event: error\ndata: {"type":"error"}\n\n'),
        ("/v1/responses", b'event: error\ndata: {"type":"error"}\n\n'),
    ],
)
def test_a_stream_that_tells_why_it_ends_needs_no_second_error(
    route: str, error: bytes
) -> None:
    """The engine's own words are the better ones."""
    assert is_stream_complete(route, error)


def test_streams_of_other_routes_end_as_they_like() -> None:
    """Nothing is known of them."""
    assert is_stream_complete("/api/pull", b"")
