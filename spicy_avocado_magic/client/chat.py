"""Ask a model of the running service, as any client does, and stream its answer."""

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
from ..protocol.state import State
from ..system.redaction import strip_control_chars

_NANOSECONDS: Final = 1e9
_SHOWN: Final = 300
"""Characters of an error's text that are repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What a model is asked."""

    model: str
    prompt: str
    system: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatChunk:
    """Some of an answer, in the order in which it comes."""

    text: str = ""
    thought: str = ""
    """What a model that reasons says to itself."""
    tokens: int = 0
    """Of the whole answer; told by the last piece alone."""
    seconds: float = 0.0
    """For which the engine spoke; told by the last piece alone."""


def stream_chat(
    state: State, question: ChatRequest, timeouts: Timeouts
) -> Generator[ChatChunk, None, None]:
    """Yield the answer as it comes; a caller that closes it frees the engine.

    Raises:
        UsageError: If there is no such model, or nothing runs.
        GatewayFailed: If the service does not answer, or not yet.
        EngineFailed: If the model cannot answer.
    """
    import requests

    url = f"{require_running(state).local_url}/api/chat"
    headers = {"Authorization": f"Bearer {state.api_key}"} if state.api_key else {}
    waits = (timeouts.upstream_connect_s, timeouts.silence_s)
    with requests.Session() as session:
        # A proxy of the environment knows nothing of this machine's loopback.
        session.trust_env = False
        try:
            with session.post(
                url, json=_body(question), headers=headers, timeout=waits, stream=True
            ) as response:
                if response.status_code != requests.codes.ok:
                    raise _refused(state, question, response.status_code, response.text)
                lines = response.iter_lines()
                yield from _pieces(question, lines)
                # One who hangs up before the end is counted as gone: status 499.
                with contextlib.suppress(requests.RequestException):
                    deque(lines, maxlen=0)
        except requests.RequestException as error:
            raise GatewayFailed(
                f"The service does not answer ({type(error).__name__}).",
                "%avocado_status tells how it is; %avocado_up --restart renews it.",
            ) from error


def first_model(state: State) -> str:
    """Return the model that is asked where none is named."""
    return state.models[0].name if state.models else ""


def require_running(state: State | None) -> State:
    """Return the state of a service that can be spoken to.

    Raises:
        UsageError: If there is none.
    """
    if state is None or not state.local_url:
        raise UsageError(
            "There is no service to speak to.",
            "Start one first: %avocado_up MODEL",
        )
    return state


def _body(question: ChatRequest) -> dict[str, Any]:
    system = [{"role": "system", "content": question.system}] if question.system else []
    user = {"role": "user", "content": question.prompt}
    return {"model": question.model, "messages": [*system, user], "stream": True}


def _pieces(question: ChatRequest, lines: Iterator[bytes]) -> Iterator[ChatChunk]:
    """Read ``/api/chat`` (docs/api.md in ollama/ollama) to its last line."""
    for line in lines:
        if not line.strip():
            continue
        told = _object(line)
        if "error" in told:
            raise _cannot_answer(question, str(told["error"]))
        message = told.get("message")
        if not isinstance(message, dict):
            break
        is_done = bool(told.get("done"))
        yield ChatChunk(
            text=str(message.get("content") or ""),
            thought=str(message.get("thinking") or ""),
            tokens=int(told.get("eval_count") or 0) if is_done else 0,
            seconds=(told.get("eval_duration") or 0) / _NANOSECONDS if is_done else 0.0,
        )
        if is_done:
            return
    raise _cannot_answer(question, "the answer broke off")


def _object(line: bytes) -> dict[str, Any]:
    """Read a line; one that is no JSON object is as none."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _refused(
    state: State, question: ChatRequest, status: int, body: str
) -> AvocadoError:
    said = _said(body) or f"HTTP {status}"
    if status == 404:  # noqa: PLR2004  (HTTP's "not found")
        names = [model.name for model in state.models]
        return UsageError(
            f"This service has no model {strip_control_chars(question.model)!r}.",
            did_you_mean(question.model, names, f"It has {', '.join(names)}."),
        )
    if status in {429, 503}:
        return GatewayFailed(
            f"The service cannot answer now: {said}",
            "Ask again in a moment; %avocado_status tells how it is.",
        )
    return _cannot_answer(question, said)


def _cannot_answer(question: ChatRequest, said: str) -> EngineFailed:
    return EngineFailed(
        f"{strip_control_chars(question.model)} does not answer: "
        f"{strip_control_chars(said)[:_SHOWN]}",
        "Ask again; %avocado_logs engine tells more.",
    )


def _said(body: str) -> str:
    """Return what an error says, in whatever form."""
    try:
        told: Any = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return strip_control_chars(body)[:_SHOWN].strip()
    if isinstance(told, dict):
        told = told.get("message", "")
    return strip_control_chars(str(told))[:_SHOWN]
