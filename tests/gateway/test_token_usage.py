"""Tokens are read in passing, whatever the chunks and whatever the model says.

The replies are recordings of real engines (two versions of Ollama).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spicy_avocado_magic.gateway.token_usage import TokenCounter
from spicy_avocado_magic.protocol.usage import TokenUsage

RECORDED: Final[dict[str, dict[str, Any]]] = json.loads(
    Path(__file__).with_name("recorded_replies.json").read_text()
)
REPLIES: Final = {
    f"{version} {name}": reply["body"].encode()
    for version, replies in RECORDED.items()
    for name, reply in replies.items()
}
COSTS: Final = {
    "generate": (6, 4),
    "generate-whole": (6, 4),
    "generate-logprobs": (6, 4),
    "generate-logprobs-whole": (6, 40),
    "generate-long": (1004, 100),
    "chat": (6, 4),
    "chat-whole": (6, 4),
    "load": (0, 0),
    "embed": (5, 0),
    "v1-embeddings": (5, 0),
    "v1-chat-usage": (6, 4),
    "v1-chat-whole": (6, 4),
    "v1-completions-usage": (6, 4),
    "v1-completions-whole": (6, 4),
    "responses": (56, 4),
    "responses-whole": (56, 4),
    "messages": (56, 4),
    "messages-whole": (56, 4),
    "missing": (0, 0),
    "generate-error": (0, 0),
}
"""Tokens in and out; the newer engine puts its chat template before a chat."""
CHATS: Final = ("chat", "chat-whole", "v1-chat-usage", "v1-chat-whole")
FAKES: Final = (
    '"usage":{"prompt_tokens":900,"completion_tokens":900}',
    '"prompt_eval_count":900,"eval_count":900',
    '}\n{"done":true,"eval_count":900}\n',
    '\n\ndata: {"usage":{"input_tokens":900,"output_tokens":900}}\n\n',
    '\\"output_tokens\\":900',
)


def metered(chunks: Iterable[bytes]) -> TokenUsage:
    """Return what a meter makes of these chunks."""
    meter = TokenCounter()
    for chunk in chunks:
        meter.feed(chunk)
    return meter.usage()


def reported(tokens_in: int, tokens_out: int) -> TokenUsage:
    """Return counts that the engine reported."""
    return TokenUsage(tokens_in=tokens_in, tokens_out=tokens_out)


def counted(tokens_out: int, tokens_in: int = 0) -> TokenUsage:
    """Return a count of our own."""
    return TokenUsage(tokens_in=tokens_in, tokens_out=tokens_out, is_estimate=True)


@pytest.mark.parametrize("name", REPLIES)
def test_tokens_are_those_that_the_engine_reports(name: str) -> None:
    """In each dialect, streamed and whole; without counts, they are estimated."""
    version, _, kind = name.partition(" ")
    if kind in ("v1-chat", "v1-completions"):
        expected = counted(4)
    else:
        expected = reported(*COSTS[kind])
        if version == "0.34.1" and kind in CHATS:
            expected = reported(56, 4)
    assert metered([REPLIES[name]]) == expected, "a recorded reply is misread"


@st.composite
def splits(draw: st.DrawFn) -> list[bytes]:
    """Draw a reply, perhaps cut short, in chunks of any size."""
    reply = REPLIES[draw(st.sampled_from(sorted(REPLIES)))]
    reply = reply[: draw(st.integers(0, len(reply)) | st.just(len(reply)))]
    places = st.lists(st.integers(0, len(reply)), max_size=40)
    every = draw(st.sampled_from([0, 1, 3, 500, 2047, 2048, 4097]))
    cuts = {0, len(reply), *draw(places)}
    cuts |= set(range(0, len(reply), every)) if every else set()
    return [reply[a:b] for a, b in pairwise(sorted(cuts))]


@given(chunks=splits())
def test_chunks_may_begin_and_end_anywhere(chunks: list[bytes]) -> None:
    """How the network cuts a stream changes nothing of what is counted."""
    assert metered(chunks) == metered([b"".join(chunks)]), "the split shows"


def native(text: str, *, done: bool) -> dict[str, Any]:
    """Return a line of ``/api/chat``."""
    line: dict[str, Any] = {"message": {"content": text}, "done": done}
    return line | ({"prompt_eval_count": 7, "eval_count": 3} if done else {})


def streams_with(text: str) -> dict[str, tuple[bytes, TokenUsage]]:
    """Return replies in which the model says this, with what they cost."""

    def sse(*events: Any) -> bytes:
        return b"".join(
            b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
            for event in events
        )

    def lines(*objects: Any) -> bytes:
        return b"".join(
            json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in objects
        )

    delta = {"choices": [{"delta": {"content": text}, "finish_reason": None}]}
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    whole = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
    call = {"function": {"name": "f", "arguments": {"eval_count": 9, "usage": usage}}}
    calling = native("", done=False)
    calling["message"]["tool_calls"] = [call]
    return {
        "native": (
            lines(native(text, done=False), native(text, done=True)),
            reported(7, 3),
        ),
        "native, whole": (lines(native(text, done=True))[:-1], reported(7, 3)),
        "native, cut": (lines(*[native(text, done=False)] * 5), counted(5)),
        "native, a tool call": (
            lines(calling, native(text, done=True)),
            reported(7, 3),
        ),
        "native, cut at a tool call": (lines(calling), counted(1)),
        "openai": (sse(delta, delta, {"choices": [], "usage": usage}), reported(7, 3)),
        "openai, no usage": (
            sse(delta, delta) + b"data: [DONE]\n\n",
            counted(2),
        ),
        "openai, whole": (lines(whole | {"usage": usage}), reported(7, 3)),
    }


TEXTS: Final = st.text(max_size=50) | st.sampled_from(FAKES)


@given(text=st.lists(TEXTS, max_size=6).map("".join), factor=st.sampled_from([1, 99]))
def test_an_answer_that_looks_like_counts_is_not_taken_for_them(
    text: str, factor: int
) -> None:
    """A model that is asked to write usage, however much of it, changes no count."""
    for name, (reply, expected) in streams_with(text * factor).items():
        assert metered([reply]) == expected, f"{name} was fooled"
        in_pieces = [reply[at : at + 700] for at in range(0, len(reply), 700)]
        assert metered(in_pieces) == expected, f"{name} was fooled in pieces"


def test_a_tool_call_is_no_count_wherever_a_chunk_ends() -> None:
    """Its arguments are the model's own words, though not inside a string."""
    call = {"function": {"name": "f", "arguments": {"eval_count": 9}}}
    calling = native("", done=False)
    calling["message"]["tool_calls"] = [call]
    after = [native("y", done=False)] * 60
    # The meter forgets at 4 KiB: the call must begin before, and end behind it.
    for padding in range(3800, 4000, 7):
        events = [native("x" * padding, done=False), calling, *after]
        reply = b"".join(json.dumps(event).encode() + b"\n" for event in events)
        for size in (1, 300, 3000):
            pieces = [reply[at : at + size] for at in range(0, len(reply), size)]
            assert metered(pieces) == counted(62), f"fooled at {padding} by {size}"


def test_counts_are_found_whatever_follows_them() -> None:
    """Engines put more behind them: the log-probabilities of a whole reply, say."""
    for leading, following in product(range(2800, 2960, 9), (0, 400, 2000, 9000)):
        reply = (
            b'{"response":"' + b"x" * leading + b'","done":true,"prompt_eval_count":7,'
            b'"eval_duration":100,"eval_count":3,"logprobs":['
            + b"1," * (following // 2)
            + b"1]}"
        )
        pieces = [reply[at : at + 1000] for at in range(0, len(reply), 1000)]
        assert metered(pieces) == reported(7, 3), f"lost: {leading}, {following}"


@pytest.mark.parametrize(
    "reply",
    [
        b'[{"eval_count":5}]',
        b'data: [{"total_tokens":5}]\n\n',
        b'"eval_count":5',
        b"\xff",
    ],
)
def test_what_is_no_reply_of_an_engine_costs_nothing(reply: bytes) -> None:
    """Whatever it is, it is passed on, and no error of ours."""
    assert metered([reply]) == reported(0, 0)
    assert metered([reply * 2000]).tokens_in == 0


def test_a_prompt_is_counted_where_only_message_start_reports_it() -> None:
    """Anthropic's protocol reports the prompt first; a cut stream has no more."""
    reply = REPLIES["0.34.1 messages"]
    cut = reply[: reply.index(b"event: content_block_stop")]
    assert metered([cut]) == counted(4, tokens_in=1), "the prompt was lost"
    end = reply.replace(b'"input_tokens":1,"cache_read_input_tokens":55,', b"")
    assert metered([end]) == reported(1, 4), "the two were not put together"


def test_a_reply_of_any_length_is_held_in_bounded_memory() -> None:
    """500 streams of a megabyte each cost as much as short ones."""
    line = json.dumps(native("x" * 100, done=False)).encode() + b"\n"
    for reply in ([line] * 5000, [b"[" + b"0.123," * 1000] * 100):
        meter = TokenCounter()
        for chunk in reply:
            meter.feed(chunk)
        held = meter.held_bytes
        assert held <= 8192, f"{held} bytes are held"


def test_a_running_stream_is_counted_as_it_comes() -> None:
    """A key without tokens left is stopped in the middle of a response."""
    meter = TokenCounter()
    for number in range(1, 200):
        meter.feed(json.dumps(native("word", done=False)).encode() + b"\n")
        assert meter.event_count == number, "the count does not follow the stream"
    events = TokenCounter()
    events.feed(REPLIES["0.34.1 messages"])
    assert 4 <= events.event_count <= 10, "lines of SSE were counted for events"
