"""What ends a stream of events, in each API that has them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spicy_avocado_magic.gateway.routes import ALL_ROUTES

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


BY_LABEL = {route.label: route for route in ALL_ROUTES}
NOT_STREAMED = {"/v1/embeddings", "/v1/audio/transcriptions"}
"""Inference routes under ``/v1`` that respond with one object."""


@pytest.mark.parametrize(("label", "stream"), STREAMS)
def test_a_recorded_stream_is_complete_and_a_cut_one_is_not(
    label: str, stream: bytes
) -> None:
    """Streams of real engines, whole and cut after each event but the last ones."""
    route = BY_LABEL[label]
    assert route.is_stream_complete(stream[-500:]), f"taken for cut: {stream[-500:]!r}"
    *events, _last, _nothing = stream.split(b"\n\n")
    for count in range(1, len(events)):
        cut = b"\n\n".join(events[:count])
        assert not route.is_stream_complete(cut[-500:]), (
            f"taken for complete: {cut[-500:]!r}"
        )


@pytest.mark.parametrize(
    ("label", "error"),
    [
        ("/v1/chat/completions", b'data: {"error":{"message":"no"}}\n\n'),
        ("/v1/messages", b'event: error\ndata: {"type":"error"}\n\n'),
        ("/v1/responses", b'event: error\ndata: {"type":"error"}\n\n'),
    ],
)
def test_a_stream_that_ends_with_an_error_event_is_complete(
    label: str, error: bytes
) -> None:
    """The client has the engine's own error, and needs no second one."""
    assert BY_LABEL[label].is_stream_complete(error)


def test_a_stream_without_terminal_events_may_end_anywhere() -> None:
    """Lines of JSON have no event that ends them."""
    assert BY_LABEL["/api/pull"].is_stream_complete(b"")


def test_every_route_that_streams_events_has_its_terminal_events() -> None:
    """A new route is one row: without them, a cut stream would pass for a whole one."""
    streamed = {
        route.label
        for route in ALL_ROUTES
        if route.is_inference and route.label.startswith("/v1/")
    } - NOT_STREAMED
    assert set(ROUTES.values()) <= streamed
    missing = {label for label in streamed if not BY_LABEL[label].terminal_events}
    assert not missing, f"rows without terminal events: {missing}"
    assert all(not BY_LABEL[label].terminal_events for label in NOT_STREAMED)
