"""Response formats: what all API dialects share, and Ollama's native two.

Shapes follow ``api/types.go`` in github.com/ollama/ollama, as observed on a server of
0.34.1.
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
    """The format of one reply; create one for each request."""

    media: ClassVar[str] = "text/event-stream"

    def __init__(self, reply: GeneratedReply, *, with_usage: bool = False) -> None:
        self.reply = reply
        self.with_usage = with_usage
        self.token = secrets.token_hex(6)
        self.created_s = int(time.time())
        self.used = (reply.prompt_tokens, len(reply.words))

    def begin(self) -> bytes:
        """Return the bytes before the first word."""
        return b""

    @abstractmethod
    def piece(self, word: str) -> bytes:
        """Return the bytes of one word."""

    @abstractmethod
    def end(self) -> bytes:
        """Return the bytes after the last word."""

    @abstractmethod
    def whole(self) -> JsonObject:
        """Return the whole reply as one object."""


class NativeGenerate(Dialect):
    """``/api/generate``."""

    media = "application/x-ndjson"

    def text_field(self, text: str) -> JsonObject:
        """Return the field that holds the text."""
        return {"response": text}

    def piece(self, word: str) -> bytes:
        """Return one NDJSON line."""
        return _line(self._head() | self.text_field(word) | {"done": False})

    def end(self) -> bytes:
        """Return the last line, with token counts and durations."""
        return _line(self._last(""))

    def whole(self) -> JsonObject:
        """Return the only line."""
        return self._last(self.reply.text)

    def _head(self) -> JsonObject:
        return {"model": self.reply.model, "created_at": rfc3339(time.time())}

    def _last(self, text: str) -> JsonObject:
        last = self._head() | self.text_field(text)
        last |= {"done": True, "done_reason": self.reply.reason}
        if not self.reply.words:
            return last
        prompt, completion = self.used
        return last | {
            "total_duration": completion * 10**7,
            "load_duration": 10**6,
            "prompt_eval_count": prompt,
            "prompt_eval_duration": 10**6,
            "eval_count": completion,
            "eval_duration": completion * 10**7,
        }


class NativeChat(NativeGenerate):
    """``/api/chat``."""

    def text_field(self, text: str) -> JsonObject:
        """Return the message that holds the text."""
        return {"message": {"role": "assistant", "content": text}}


def error_body(path: str, status: int, message: str) -> JsonObject:
    """Return an error in the format of the API that a path belongs to."""
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


def _line(json_value: JsonObject) -> bytes:
    return json.dumps(json_value).encode() + b"\n"
