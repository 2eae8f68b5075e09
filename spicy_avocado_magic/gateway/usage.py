"""How many tokens a reply cost, read in passing: no byte waits for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one reply.

    Attributes:
        tokens_in: Of the prompt.
        tokens_out: Of the answer.
        is_estimate: Whether they were counted by us, one for each content event.
    """

    tokens_in: int = 0
    tokens_out: int = 0
    is_estimate: bool = False


class TokenMeter:
    """Is fed every chunk of a reply, in order."""

    __slots__ = ("counted",)

    def __init__(self) -> None:
        self.counted = 0
        """Content events so far."""

    def feed(self, chunk: bytes) -> None:
        """Take note of the next chunk."""
        self.counted += chunk.count(b"\n")

    def usage(self) -> Usage:
        """Return what the reply has cost so far."""
        return Usage(tokens_out=self.counted, is_estimate=True)
