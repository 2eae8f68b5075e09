"""Streaming chat with a model of the running service, over HTTP like any client."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..config.timeouts import Timeouts
from ..errors import AvocadoError, EngineFailed, GatewayFailed, UsageError
from ..formatting import did_you_mean
from ..protocol.error_shapes import error_message
from ..protocol.state import State
from ..system.redaction import strip_control_chars

_NANOSECONDS: Final = 1e9
_MAX_ERROR_CHARS: Final = 300
"""Of an engine's or gateway's error that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """One question to a model."""

    model: str
    prompt: str
    system: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatChunk:
    """A part of an answer."""

    text: str = ""
    thought: str = ""
    """Reasoning before the answer, of models that send it."""
    tokens: int = 0
    """Of the whole answer; set in the last chunk alone."""
    seconds: float = 0.0
    """That the engine took to generate them; set in the last chunk alone."""


def stream_chat(
    state: State, question: ChatRequest, timeouts: Timeouts
) -> Generator[ChatChunk, None, None]:
    """Yield the answer as it arrives; closing the generator cancels the request.

    Raises:
        UsageError: If no such model is served, or nothing runs.
        GatewayFailed: If the service does not answer, or not yet.
        EngineFailed: If the model cannot answer.
    """
    import requests

    url = f"{require_running(state).local_url}/api/chat"
    headers = {"Authorization": f"Bearer {state.api_key}"} if state.api_key else {}
    waits = (timeouts.upstream_connect_s, timeouts.silence_s)
    with requests.Session() as session:
        session.trust_env = False  # a proxy cannot reach this machine's loopback
        try:
            with session.post(
                url, json=_body(question), headers=headers, timeout=waits, stream=True
            ) as response:
                if response.status_code != requests.codes.ok:
                    raise _refused(state, question, response.status_code, response.text)
                lines = response.iter_lines()
                yield from _chunks(question, lines)
                # Closing the connection before its end would be logged as 499.
                with contextlib.suppress(requests.RequestException):
                    deque(lines, maxlen=0)
        except requests.RequestException as error:
            raise GatewayFailed(
                f"The service does not answer ({type(error).__name__}).",
                "Look at %avocado_status; %avocado_up --restart starts it again.",
            ) from error


def first_model(state: State) -> str:
    """Return the default model of a question: the first one that is served."""
    return state.models[0].name if state.models else ""


def require_running(state: State | None) -> State:
    """Return the state of a running service.

    Raises:
        UsageError: If none runs.
    """
    if state is None or not state.local_url:
        raise UsageError(
            "No service is running.",
            "Start one first: %avocado_up MODEL",
        )
    return state


def _body(question: ChatRequest) -> dict[str, Any]:
    system = [{"role": "system", "content": question.system}] if question.system else []
    user = {"role": "user", "content": question.prompt}
    return {"model": question.model, "messages": [*system, user], "stream": True}


def _chunks(question: ChatRequest, lines: Iterator[bytes]) -> Iterator[ChatChunk]:
    """Parse the lines of ``/api/chat`` (docs/api.md in ollama/ollama)."""
    for line in lines:
        if not line.strip():
            continue
        payload = _object(line)
        if "error" in payload:
            raise _cannot_answer(question, str(payload["error"]))
        message = payload.get("message")
        if not isinstance(message, dict):
            break
        is_done = bool(payload.get("done"))
        yield ChatChunk(
            text=str(message.get("content") or ""),
            thought=str(message.get("thinking") or ""),
            tokens=int(payload.get("eval_count") or 0) if is_done else 0,
            seconds=(payload.get("eval_duration") or 0) / _NANOSECONDS
            if is_done
            else 0.0,
        )
        if is_done:
            return
    raise _cannot_answer(question, "the answer was cut off")


def _object(line: bytes) -> dict[str, Any]:
    """Return the JSON object in a line, empty if it is none."""
    try:
        payload = json.loads(line)
    except ValueError:
        return {}
    return payload if isinstance(payload, dict) else {}


def _refused(
    state: State, question: ChatRequest, status: int, body: str
) -> AvocadoError:
    text = strip_control_chars(error_message(body) or body)[:_MAX_ERROR_CHARS].strip()
    message = text or f"HTTP {status}"
    if status == 404:  # noqa: PLR2004  (HTTP's "not found")
        names = [model.name for model in state.models]
        return UsageError(
            f"This service has no model {strip_control_chars(question.model)!r}.",
            did_you_mean(question.model, names, f"It has {', '.join(names)}."),
        )
    if status in {429, 503}:
        return GatewayFailed(
            f"The service cannot answer now: {message}",
            "Ask again in a moment, and look at %avocado_status.",
        )
    return _cannot_answer(question, message)


def _cannot_answer(question: ChatRequest, message: str) -> EngineFailed:
    return EngineFailed(
        f"{strip_control_chars(question.model)} does not answer: "
        f"{strip_control_chars(message)[:_MAX_ERROR_CHARS]}",
        "Ask again; %avocado_logs engine shows details.",
    )
