"""Clients that keep calling through the public URL, and judge their own answers."""

from __future__ import annotations

import enum
import http.client
import itertools
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from tests.machine_speed import scaled

_WORDS: Final = 8
_PAUSE_S: Final = 0.03
_PAUSE_AFTER_A_LOSS_S: Final = 0.2
_RETRYABLE: Final = frozenset({408, 409, 425, 429})
_FIRST_ANSWER_S: Final = scaled(20.0)


class Verdict(enum.StrEnum):
    """How a request ended."""

    WHOLE = "whole"
    CLEAR_ERROR = "a clear, retryable error in its dialect"
    CUT = "cut: the connection broke, as its client saw"
    EDGE = "ngrok answered, with a code of its own"
    WRONG = "a wrong answer, or an error that is not clear or not retryable"
    HALF = "half an answer that looks whole"
    HUNG = "hung"


LOST: Final = (Verdict.CLEAR_ERROR, Verdict.CUT, Verdict.EDGE)
BROKEN: Final = (Verdict.WRONG, Verdict.HALF, Verdict.HUNG)


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that has ended; times are monotonic."""

    began: float
    ended: float
    verdict: Verdict
    detail: str
    longest_silence_s: float


class Dialect(enum.Enum):
    """Path, and where a dialect has text, end and error."""

    OPENAI = "/v1/chat/completions"
    NATIVE = "/api/chat"
    ANTHROPIC = "/v1/messages"

    def body(self, model: str, prompt: str, *, is_stream: bool) -> dict[str, Any]:
        """Return a request that always has the same answer."""
        messages = [{"role": "user", "content": prompt}]
        asked = {"model": model, "messages": messages, "stream": is_stream}
        if self is Dialect.NATIVE:
            options = {"num_predict": _WORDS, "temperature": 0, "seed": 1}
            return asked | {"options": options}
        return asked | {"max_tokens": _WORDS, "temperature": 0}

    def text(self, payload: dict[str, Any]) -> str:
        """Return the text in a whole reply, or in an event of a stream."""
        match self:
            case Dialect.NATIVE:
                return str((payload.get("message") or {}).get("content") or "")
            case Dialect.OPENAI:
                choice = (payload.get("choices") or [{}])[0]
                part = choice.get("message") or choice.get("delta") or {}
                return str(part.get("content") or "")
            case Dialect.ANTHROPIC:
                parts = payload.get("content") or [payload.get("delta") or {}]
                return "".join(str(part.get("text") or "") for part in parts)

    def is_end(self, payload: dict[str, Any]) -> bool:
        """Whether a reply, or an event, says that nothing is missing."""
        match self:
            case Dialect.NATIVE:
                return payload.get("done") is True
            case Dialect.OPENAI:
                return bool((payload.get("choices") or [{}])[0].get("finish_reason"))
            case Dialect.ANTHROPIC:
                return payload.get("type") == "message_stop" or bool(
                    payload.get("type") == "message" and payload.get("stop_reason")
                )

    def error(self, payload: dict[str, Any]) -> str | None:
        """Return what an error says, or None for what is none in this dialect."""
        error = payload.get("error")
        if self is Dialect.NATIVE:
            return error if isinstance(error, str) and error else None
        message = error.get("message") if isinstance(error, dict) else None
        if self is Dialect.ANTHROPIC and payload.get("type") != "error":
            return None
        return str(message) if message else None


class _ErrorEvent(Exception):
    """A stream ended with an error event."""


@dataclass(kw_only=True)
class Caller:
    """One client in a thread: the same kind of request, again and again."""

    dialect: Dialect
    is_stream: bool
    model: str
    is_stand_in: bool
    url: str
    key: str
    silence_limit_s: float
    calls: list[Call] = field(default_factory=list)
    _expected: str | None = None
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _silence_s: float = 0.0

    @property
    def name(self) -> str:
        """Dialect and manner."""
        manner = "streaming" if self.is_stream else "not streaming"
        return f"{self.dialect.name.lower()}, {manner}"

    def call(self) -> Call:
        """Make one request and judge how it ended."""
        began, self._silence_s = time.monotonic(), 0.0
        verdict, detail = self._judge()
        call = Call(
            began=began,
            ended=time.monotonic(),
            verdict=verdict,
            detail=f"{self.name}: {detail}"[:300],
            longest_silence_s=self._silence_s,
        )
        self.calls.append(call)
        return call

    def _judge(self) -> tuple[Verdict, str]:
        address = urlsplit(self.url)
        connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=self.silence_limit_s
        )
        # The stand-in repeats the prompt, so no answer can be another request's.
        number = f" {next(self._numbers)}-{id(self)}" if self.is_stand_in else ""
        prompt = f"Say avocado{number}"
        body = self.dialect.body(self.model, prompt, is_stream=self.is_stream)
        headers = {"Content-Type": "application/json", "x-api-key": self.key}
        try:
            asked_at = time.monotonic()
            connection.request("POST", self.dialect.value, json.dumps(body), headers)
            response = connection.getresponse()
            self._silence_s = time.monotonic() - asked_at
            if response.status != 200:
                return self._judge_refusal(response)
            text, is_whole = self._read(response)
        except TimeoutError:
            return Verdict.HUNG, f"silent for {self.silence_limit_s:g} s"
        except _ErrorEvent as error:
            return Verdict.CLEAR_ERROR, str(error)
        except (OSError, http.client.HTTPException) as error:
            return Verdict.CUT, f"{type(error).__name__}: {error}"
        except ValueError as error:
            return Verdict.WRONG, f"not its dialect: {error}"
        finally:
            connection.close()
        if not is_whole:
            return Verdict.HALF, f"ended without its end: {text!r}"
        return self._judge_text(text, f"You said: {prompt}")

    def _judge_refusal(self, response: http.client.HTTPResponse) -> tuple[Verdict, str]:
        body = response.read()
        if code := response.headers.get("Ngrok-Error-Code"):
            return Verdict.EDGE, code
        try:
            message = self.dialect.error(json.loads(body))
        except (ValueError, AttributeError):
            message = None
        is_retryable = response.status >= 500 or response.status in _RETRYABLE
        verdict = Verdict.CLEAR_ERROR if message and is_retryable else Verdict.WRONG
        return verdict, f"{response.status} {message or body[:200]!r}"

    def _read(self, response: http.client.HTTPResponse) -> tuple[str, bool]:
        """Return the text, and whether the dialect's own mark ended it."""
        if not self.is_stream:
            payload = json.loads(response.read())
            return self.dialect.text(payload), self.dialect.is_end(payload)
        text, is_whole = "", False
        for line in self._lines(response):
            if not line.startswith(b"{"):
                continue  # a comment, an event's name, or OpenAI's "[DONE]"
            payload = json.loads(line)
            if (error := self.dialect.error(payload)) is not None:
                raise _ErrorEvent(error)
            text += self.dialect.text(payload)
            is_whole = is_whole or self.dialect.is_end(payload)
        if response.chunked and response.chunk_left is not None:
            # Its ``readline`` takes a connection's end for that of the reply.
            raise http.client.IncompleteRead(b"")
        return text, is_whole

    def _lines(self, response: http.client.HTTPResponse) -> Iterator[bytes]:
        """Yield lines as they come, and note for how long nothing came.

        Not by ``readline``, which takes a connection that broke for the end.
        """
        rest, last_at = b"", time.monotonic()
        while piece := response.read1(65536):
            now = time.monotonic()
            self._silence_s, last_at = max(self._silence_s, now - last_at), now
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line.strip().removeprefix(b"data: ")
        yield rest.strip()

    def _judge_text(self, text: str, echo: str) -> tuple[Verdict, str]:
        if self._expected is None:
            self._expected = text
        expected = echo if self.is_stand_in else self._expected
        if text == expected:
            return Verdict.WHOLE, text
        is_part = expected.startswith(text)
        verdict = Verdict.HALF if is_part else Verdict.WRONG
        return verdict, f"{text!r} in place of {expected!r}"


class Callers:
    """One caller for each dialect and manner, until they are stopped."""

    def __init__(
        self,
        url: str,
        key: str,
        model: str,
        *,
        is_stand_in: bool,
        silence_limit_s: float,
    ) -> None:
        self.all = [
            Caller(
                dialect=dialect,
                is_stream=is_stream,
                model=model,
                is_stand_in=is_stand_in,
                url=url,
                key=key,
                silence_limit_s=silence_limit_s,
            )
            for dialect in Dialect
            for is_stream in (False, True)
        ]
        self._patience_s = silence_limit_s
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(caller,), daemon=True)
            for caller in self.all
        ]

    def start(self) -> None:
        """Begin, and return once each has had a whole answer."""
        for thread in self._threads:
            thread.start()
        self.wait_each_whole(0.0)
        for call in [call for caller in self.all for call in caller.calls]:
            assert call.verdict is Verdict.WHOLE, f"before the fault: {call.detail}"

    def wait_each_whole(self, since: float) -> None:
        """Return once each has had a whole answer that began after a time."""
        deadline = time.monotonic() + _FIRST_ANSWER_S
        for caller in self.all:
            while not any(
                c.began >= since and c.verdict is Verdict.WHOLE for c in caller.calls
            ):
                assert time.monotonic() < deadline, f"{caller.name}: no answer any more"
                self._ending.wait(0.02)

    def stop_calling(self) -> None:
        """Let none begin another request."""
        self._ending.set()

    def end(self) -> list[Call]:
        """Let each finish what it has begun; return all calls."""
        self.stop_calling()
        calls = []
        for caller, thread in zip(self.all, self._threads, strict=True):
            thread.join(self._patience_s + scaled(5.0))
            assert not thread.is_alive(), f"{caller.name}: a request hangs"
            calls += caller.calls
        return calls

    def _run(self, caller: Caller) -> None:
        while not self._ending.is_set():
            is_whole = caller.call().verdict is Verdict.WHOLE
            self._ending.wait(_PAUSE_S if is_whole else _PAUSE_AFTER_A_LOSS_S)
