"""Token counts of a response, read from its bytes as they pass, without delay.

The engine reports them at the end, as recorded of v0.11.4 and v0.34.1:
``prompt_eval_count`` and ``eval_count`` in the last line or the whole object of
``/api``; ``usage`` with ``prompt_tokens`` and ``completion_tokens`` under ``/v1``, or
with ``input_tokens`` and ``output_tokens`` in ``/v1/responses`` and ``/v1/messages``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ..protocol.usage import TokenUsage

_HEAD_BYTES: Final = 1024
_TAIL_BYTES: Final = 2048
"""Bytes that are always kept: the counts of any engine, and all that follows them."""
_MAX_BYTES: Final = 4096
"""Bytes of a stream at which all but its tail is dropped."""
_PARSE_BYTES: Final = 16 * 2**10
"""A longer line is searched for its counts instead of parsed."""

_IN: Final = (
    "prompt_eval_count",
    "prompt_tokens",
    "input_tokens",
    # Anthropic's input_tokens are those that were not cached.
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)
_OUT: Final = ("eval_count", "completion_tokens", "output_tokens")
_MARKS: Final = (b'_tokens":', b'eval_count":')
"""Ends of JSON keys: inside a string the quote would be escaped."""
_COUNT: Final = re.compile(rb'"(%s)":\s*(\d+)(?=\D)' % "|".join((*_IN, *_OUT)).encode())
_BEFORE, _AFTER = 256, 48
"""Bytes around the last mark that contain all counts of a response."""
_LINES_PER_EVENT: Final = {b"d": 2, b"e": 3}
"""By the first byte: ``data:`` of SSE, ``event:`` before it, else a line of JSON."""
_MESSAGE_START: Final = b"event: message_start"


class TokenCounter:
    """Counter that is fed each chunk of a response in order; it holds about 4 KiB."""

    __slots__ = ("_head", "_in", "_lines", "_out", "_read", "_tail")

    def __init__(self) -> None:
        self._tail = bytearray()
        self._head = b""
        self._lines = self._in = self._out = 0
        self._read = 0
        """Bytes of the tail that are already counted."""

    def feed(self, chunk: bytes) -> None:
        """Count the next chunk."""
        self._tail += chunk
        if len(self._tail) > _MAX_BYTES:
            self._drop_all_but_tail()

    @property
    def event_count(self) -> int:
        """Events so far: at most a few more than the tokens of the response so far."""
        first = bytes((self._head or self._tail)[:1])
        lines = self._lines + self._tail.count(b"\n")
        return lines // _LINES_PER_EVENT.get(first, 1)

    @property
    def held_bytes(self) -> int:
        """Bytes of the stream that are held."""
        return len(self._tail) + len(self._head)

    @property
    def ending(self) -> bytes:
        """The last bytes so far, up to 2 KiB."""
        return bytes(self._tail[-_TAIL_BYTES:])

    def usage(self) -> TokenUsage:
        """Return the tokens of the response so far."""
        tokens_in, tokens_out, _ = self._with_last_counts(is_end=True)
        head = self._head or bytes(self._tail[:_HEAD_BYTES])
        if not tokens_in and head.startswith(_MESSAGE_START):
            tokens_in, _ = _search_counts(head.partition(b"\n\n")[0] + b"\n")
        if tokens_out:
            return TokenUsage(tokens_in=tokens_in, tokens_out=tokens_out)
        estimate = self._estimate(head)
        return TokenUsage(
            tokens_in=tokens_in, tokens_out=estimate, is_estimate=estimate > 0
        )

    def _drop_all_but_tail(self) -> None:
        self._in, self._out, read = self._with_last_counts(is_end=False)
        self._head = self._head or bytes(self._tail[:_HEAD_BYTES])
        dropped = len(self._tail) - _TAIL_BYTES
        self._lines += self._tail.count(b"\n", 0, dropped)
        del self._tail[:dropped]
        self._read = max(0, read - dropped)

    def _with_last_counts(self, *, is_end: bool) -> tuple[int, int, int]:
        """Return tokens in and out by the last line that has them, and its end.

        The end is 0 for an incomplete line.
        """
        tail = self._tail
        mark = max(tail.rfind(mark, self._read) for mark in _MARKS)
        if mark < 0:
            return self._in, self._out, self._read
        begin = tail.rfind(b"\n", 0, mark) + 1
        end = tail.find(b"\n", mark)
        if end < 0 and not is_end and begin >= len(tail) - _TAIL_BYTES:
            return self._in, self._out, 0  # it stays, and may be complete next time
        is_whole = (begin > 0 or not self._head) and (end >= 0 or is_end)
        end = len(tail) if end < 0 else end
        if is_whole and end - begin <= _PARSE_BYTES:
            tokens_in, tokens_out = _counts_of(_parse(tail[begin:end]))
        else:
            around = tail[max(begin, mark - _BEFORE) : min(end, mark + _AFTER)]
            tokens_in, tokens_out = _search_counts(bytes(around) + b"\n")
            end = 0
        return tokens_in or self._in, tokens_out or self._out, end

    def _estimate(self, head: bytes) -> int:
        """Return the number of content events.

        All events between head and tail of a long stream count as such.
        """
        tail = self._tail
        if not self._head and len(tail) <= _HEAD_BYTES + _TAIL_BYTES:
            others = _without_content(tail.split(b"\n")[:-1])
        else:
            others = _without_content(head.split(b"\n")[:-1])
            others += _without_content(tail[-_TAIL_BYTES:].split(b"\n")[1:-1])
        return max(0, self.event_count - others)


def _parse(line: bytes | bytearray) -> dict[str, Any]:
    """Return the object in a line of JSON or SSE, an empty one for other lines."""
    try:
        event = json.loads(line.removeprefix(b"data:"))
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _counts_of(event: Mapping[str, Any]) -> tuple[int, int]:
    """Return the tokens in and out of an event, from where the engine puts them.

    Deeper ones do not count: the model chooses the arguments of a tool call.
    """
    parents = (event, event.get("message"), event.get("response"))
    usages = [part.get("usage") for part in parents if isinstance(part, dict)]
    usage = next((usage for usage in usages if isinstance(usage, dict)), event)
    return _sum(usage, _IN), _sum(usage, _OUT)


def _sum(usage: Mapping[str, Any], names: Iterable[str]) -> int:
    counts = (usage.get(name) for name in names)
    return sum(count for count in counts if type(count) is int)


def _search_counts(text: bytes) -> tuple[int, int]:
    found = {name.decode(): int(count) for name, count in _COUNT.findall(text)}
    return _sum(found, _IN), _sum(found, _OUT)


def _without_content(lines: Iterable[bytes | bytearray]) -> int:
    """Return the number of these lines that are events without a token."""
    events = (line for line in lines if line.startswith((b"{", b"data:")))
    return sum(not _has_content(_parse(event)) for event in events)


def _has_content(event: Mapping[str, Any]) -> bool:
    if choices := event.get("choices"):
        return choices[0].get("finish_reason") is None
    kind = str(event.get("type", ""))
    is_delta = kind.endswith("delta") and kind != "message_delta"
    return is_delta or event.get("done") is False
