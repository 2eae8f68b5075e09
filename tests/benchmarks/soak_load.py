"""The soak's load: stock clients that never stop, and a probe of the public URL."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import openai

_PLAIN: Final = 4
_STREAMING: Final = 2
_PROBE_EVERY_S: Final = 0.1
_PROBE_S: Final = 2.0
_JOIN_S: Final = 120.0
_MARGIN_S: Final = 2 * _PROBE_EVERY_S
_PAUSE_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call of a user's program, the client's own retries included."""

    began: float
    ended: float
    is_stream: bool
    error: str
    looks_whole_but_is_not: bool

    def overlaps(self, began: float, ended: float) -> bool:
        """Return whether it was under way at any time of this window."""
        return self.began < ended and began < self.ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A time in which the public URL did not lead to the gateway."""

    began: float
    ended: float

    def holds(self, request: Request) -> bool:
        """Return whether a request was under way in it."""
        return request.overlaps(self.began - _MARGIN_S, self.ended + _MARGIN_S)


class Load:
    """Threads that call until stopped."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url, key
        self._ending = threading.Event()
        self._requests: list[Request] = []
        self._outages: list[Outage] = []
        self._numbers = itertools.count()
        works = [lambda: self._call(is_stream=False)] * _PLAIN
        works += [lambda: self._call(is_stream=True)] * _STREAMING
        self._threads = [threading.Thread(target=work, daemon=True) for work in works]
        self._threads.append(threading.Thread(target=self._probe, daemon=True))

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def end(self) -> tuple[list[Request], list[Outage]]:
        """Let all finish what they have begun; return what they saw."""
        self._ending.set()
        for thread in self._threads:
            thread.join(_JOIN_S)
            assert not thread.is_alive(), "a request hangs"
        return self._requests, self._outages

    def _call(self, *, is_stream: bool) -> None:
        with openai.OpenAI(base_url=f"{self._url}/v1", api_key=self._key) as client:
            while not self._ending.is_set():
                began = time.monotonic()
                prompt = f"avocado {next(self._numbers)}"
                error, text, is_whole = "", "", False
                try:
                    text, is_whole = _ask(client, prompt, is_stream=is_stream)
                except openai.OpenAIError as failure:
                    error = f"{type(failure).__name__}: {failure}"[:200]
                except Exception as failure:  # noqa: BLE001  (httpx reports a cut stream)
                    error = f"cut: {type(failure).__name__}: {failure}"[:200]
                is_wrong = not error and not (
                    is_whole and text == f"You said: {prompt}"
                )
                self._requests.append(
                    Request(
                        began=began,
                        ended=time.monotonic(),
                        is_stream=is_stream,
                        error=error,
                        looks_whole_but_is_not=is_wrong,
                    )
                )
                self._ending.wait(_PAUSE_S)

    def _probe(self) -> None:
        down_since = 0.0
        while not self._ending.wait(_PROBE_EVERY_S):
            began = time.monotonic()
            if self._is_there():
                if down_since:
                    ended = time.monotonic()
                    self._outages.append(Outage(began=down_since, ended=ended))
                down_since = 0.0
            else:
                down_since = down_since or began
        if down_since:
            self._outages.append(Outage(began=down_since, ended=time.monotonic()))

    def _is_there(self) -> bool:
        address = urlsplit(self._url)
        connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=_PROBE_S
        )
        try:
            # A key, or the edge would answer; none that is good, or the engine would.
            connection.request("GET", "/api/nothing", headers={"x-api-key": "probe"})
            answer = connection.getresponse()
            return answer.headers.get("Server") == "avocado"
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _ask(client: openai.OpenAI, prompt: str, *, is_stream: bool) -> tuple[str, bool]:
    """Return the answer, and whether its own mark says that it is whole."""
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [
        {"role": "user", "content": prompt}
    ]
    if not is_stream:
        whole = client.chat.completions.create(model="tiny", messages=messages)
        choice = whole.choices[0]
        return choice.message.content or "", choice.finish_reason == "stop"
    text, is_whole = "", False
    with client.chat.completions.create(
        model="tiny", messages=messages, stream=True
    ) as stream:
        for event in stream:
            for part in event.choices:
                text += part.delta.content or ""
                is_whole = is_whole or part.finish_reason == "stop"
    return text, is_whole
