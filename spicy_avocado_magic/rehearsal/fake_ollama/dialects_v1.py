"""Replies in the formats of OpenAI and Anthropic, streamed or whole.

Shapes follow ``openai/`` and ``anthropic/`` in github.com/ollama/ollama, as
observed on a server of 0.34.1.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final

from .dialects import Dialect, JsonObject

_FINGERPRINT: Final = "fp_ollama"


class OpenAIChat(Dialect):
    """``/v1/chat/completions``."""

    kind: ClassVar[str] = "chat.completion"
    streamed_kind: ClassVar[str] = "chat.completion.chunk"
    prefix: ClassVar[str] = "chatcmpl"

    def choice(self, text: str, key: str) -> JsonObject:
        """Return the part of a choice that holds the text: its delta or message."""
        return {key: {"role": "assistant", "content": text}}

    def piece(self, word: str) -> bytes:
        """Return one event."""
        return self._event([self._choice(word, "delta")])

    def end(self) -> bytes:
        """Return the finish reason, the usage if requested, and ``[DONE]``."""
        ending = self._choice("", "delta", self.reply.reason)
        events = self._event([ending])
        if self.with_usage:
            events += self._event([], {"usage": self._usage()})
        return events + b"data: [DONE]\n\n"

    def whole(self) -> JsonObject:
        """Return the completion."""
        text, reason = self.reply.text, self.reply.reason
        choice = self._choice(text, "message", reason)
        return self._head(self.kind, [choice]) | {"usage": self._usage()}

    def _choice(self, text: str, key: str, reason: str | None = None) -> Any:
        return {"index": 0, **self.choice(text, key), "finish_reason": reason}

    def _event(self, choices: list[Any], more: JsonObject | None = None) -> bytes:
        return _event(self._head(self.streamed_kind, choices) | (more or {}))

    def _head(self, kind: str, choices: list[Any]) -> JsonObject:
        return {
            "id": f"{self.prefix}-{self.token}",
            "object": kind,
            "created": self.created_s,
            "model": self.reply.model,
            "system_fingerprint": _FINGERPRINT,
            "choices": choices,
        }

    def _usage(self) -> JsonObject:
        prompt, completion = self.used
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }


class OpenAICompletion(OpenAIChat):
    """``/v1/completions``."""

    kind = streamed_kind = "text_completion"
    prefix = "cmpl"

    def choice(self, text: str, _key: str) -> JsonObject:
        """Return the field that holds the text, streamed or not."""
        return {"text": text}


class OpenAIResponse(Dialect):
    """``/v1/responses``: the events for text, without tools."""

    def begin(self) -> bytes:
        """Return the events that open the response, its item and its content part."""
        self._sent = 0
        opened = {"item": self._message("in_progress", []), "output_index": 0}
        return b"".join(
            (
                self._named_event("response.created", {"response": self._response([])}),
                self._named_event("response.output_item.added", opened),
                self._named_event(
                    "response.content_part.added", self._part("part", "")
                ),
            )
        )

    def piece(self, word: str) -> bytes:
        """Return one delta."""
        return self._named_event(
            "response.output_text.delta", self._position() | {"delta": word}
        )

    def end(self) -> bytes:
        """Return the events that close the part, the item and the response."""
        text = self.reply.text
        done = self._position() | {"text": text, "logprobs": []}
        closed = {"item": self.whole()["output"][0], "output_index": 0}
        return b"".join(
            (
                self._named_event("response.output_text.done", done),
                self._named_event(
                    "response.content_part.done", self._part("part", text)
                ),
                self._named_event("response.output_item.done", closed),
                self._named_event("response.completed", {"response": self.whole()}),
            )
        )

    def whole(self) -> JsonObject:
        """Return the completed response."""
        prompt, completion = self.used
        content = self._part("content", self.reply.text)["content"]
        message = self._message("completed", [content])
        usage = {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": completion,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + completion,
        }
        return self._response([message]) | {"status": "completed", "usage": usage}

    def _named_event(self, kind: str, fields: JsonObject) -> bytes:
        self._sent += 1
        numbered = {"type": kind, "sequence_number": self._sent - 1}
        return _event(numbered | fields, kind)

    def _position(self) -> JsonObject:
        return {"item_id": f"msg_{self.token}", "output_index": 0, "content_index": 0}

    def _part(self, key: str, text: str) -> JsonObject:
        content = {"type": "output_text", "text": text, "annotations": []}
        return self._position() | {key: content}

    def _message(self, status: str, content: list[JsonObject]) -> JsonObject:
        return {
            "type": "message",
            "id": f"msg_{self.token}",
            "status": status,
            "role": "assistant",
            "content": content,
        }

    def _response(self, output: list[JsonObject]) -> JsonObject:
        return {
            "id": f"resp_{self.token}",
            "object": "response",
            "created_at": self.created_s,
            "status": "in_progress",
            "model": self.reply.model,
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
        }


class AnthropicMessage(Dialect):
    """``/v1/messages``."""

    def begin(self) -> bytes:
        """Return the empty message, and the start of its only content block."""
        usage = {"input_tokens": self.used[0], "output_tokens": 0}
        empty = self.whole() | {"content": [], "stop_reason": None, "usage": usage}
        block = {"type": "text", "text": ""}
        return self._named_event(
            "message_start", {"message": empty}
        ) + self._named_event(
            "content_block_start", {"index": 0, "content_block": block}
        )

    def piece(self, word: str) -> bytes:
        """Return one delta."""
        delta = {"type": "text_delta", "text": word}
        return self._named_event("content_block_delta", {"index": 0, "delta": delta})

    def end(self) -> bytes:
        """Return the end of the block, the stop reason and the end of the message."""
        prompt, completion = self.used
        ending = {
            "delta": {"stop_reason": self._reason(), "stop_sequence": None},
            "usage": {"input_tokens": prompt, "output_tokens": completion},
        }
        return b"".join(
            (
                self._named_event("content_block_stop", {"index": 0}),
                self._named_event("message_delta", ending),
                self._named_event("message_stop", {}),
            )
        )

    def whole(self) -> JsonObject:
        """Return the message."""
        prompt, completion = self.used
        return {
            "id": f"msg_{self.token}",
            "type": "message",
            "role": "assistant",
            "model": self.reply.model,
            "content": [{"type": "text", "text": self.reply.text}],
            "stop_reason": self._reason(),
            "stop_sequence": None,
            "usage": {"input_tokens": prompt, "output_tokens": completion},
        }

    def _reason(self) -> str:
        return "max_tokens" if self.reply.reason == "length" else "end_turn"

    def _named_event(self, kind: str, fields: JsonObject) -> bytes:
        return _event({"type": kind} | fields, kind)


def _event(json_value: JsonObject, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(json_value)}\n\n".encode()
