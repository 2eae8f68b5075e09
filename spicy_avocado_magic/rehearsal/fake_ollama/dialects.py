"""How a reply is told: what all dialects share, and Ollama's own two.

Shapes follow ``api/types.go`` in github.com/ollama/ollama, as a server of 0.34.1
was seen to write them.
"""

from __future__ import annotations

import json
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

from ...protocol.error_shapes import ApiDialect, error_shape
from .runner import GeneratedReply
from .store import rfc3339

JsonObject = dict[str, Any]


class Dialect(ABC):
    """How one reply is told; make one for each request."""

    media: ClassVar[str] = "text/event-stream"

    def __init__(self, reply: GeneratedReply, *, with_usage: bool = False) -> None:
        self.reply = reply
        self.with_usage = with_usage
        self.token = secrets.token_hex(6)
        self.created_s = int(time.time())
        self.used = (reply.heard_tokens, len(reply.words))

    def begin(self) -> bytes:
        """Return what comes before the first word."""
        return b""

    @abstractmethod
    def piece(self, word: str) -> bytes:
        """Return one word."""

    @abstractmethod
    def end(self) -> bytes:
        """Return what comes after the last word."""

    @abstractmethod
    def whole(self) -> JsonObject:
        """Return all of it as one object."""


class NativeGenerate(Dialect):
    """``/api/generate``."""

    media = "application/x-ndjson"

    def said(self, text: str) -> JsonObject:
        """Return the field that carries text."""
        return {"response": text}

    def piece(self, word: str) -> bytes:
        """Return one line."""
        return _line(self._head() | self.said(word) | {"done": False})

    def end(self) -> bytes:
        """Return the line with the figures."""
        return _line(self._last(""))

    def whole(self) -> JsonObject:
        """Return the only line."""
        return self._last(self.reply.text)

    def _head(self) -> JsonObject:
        return {"model": self.reply.model, "created_at": rfc3339(time.time())}

    def _last(self, text: str) -> JsonObject:
        last = self._head() | self.said(text)
        last |= {"done": True, "done_reason": self.reply.reason}
        if not self.reply.words:
            return last
        heard, said = self.used
        return last | {
            "total_duration": said * 10**7,
            "load_duration": 10**6,
            "prompt_eval_count": heard,
            "prompt_eval_duration": 10**6,
            "eval_count": said,
            "eval_duration": said * 10**7,
        }


class NativeChat(NativeGenerate):
    """``/api/chat``."""

    def said(self, text: str) -> JsonObject:
        """Return the message that carries text."""
        return {"message": {"role": "assistant", "content": text}}


def told_error(path: str, status: int, message: str) -> JsonObject:
    """Return an error in the words of the dialect that a path belongs to."""
    kind = {400: "invalid_request_error", 404: "not_found_error"}.get(
        status, "api_error"
    )
    dialect = ApiDialect.of(path)
    body = error_shape(dialect, message, kind)
    if dialect is ApiDialect.ANTHROPIC:
        body["request_id"] = f"req_{secrets.token_hex(12)}"
    return body


def prompt_texts(content: Any) -> Iterator[str]:
    """Yield the texts of a prompt, message or list of parts, in any dialect."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            yield from prompt_texts(part)
    elif isinstance(content, dict):
        yield from prompt_texts(content.get("text", content.get("content")))


def _line(plain: JsonObject) -> bytes:
    return json.dumps(plain).encode() + b"\n"
