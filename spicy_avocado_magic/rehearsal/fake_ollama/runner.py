"""A stand-in for the model runner: it loads in no time and repeats what it hears."""

from __future__ import annotations

import asyncio
import math
import os
import random
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from ...config.validators import parse_duration_s
from ..fake_downloads.tiny_gguf import CONTEXT_TOKENS, EMBEDDING
from .store import StoredModel, rfc3339

_FOR_EVER: Final = "2318-03-05T00:00:00Z"
"""What Ollama shows for a model that stays (now plus the longest duration of Go)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerModel:
    """A model in memory."""

    model: StoredModel
    context_tokens: int
    until_s: float
    """By the wall clock; infinite for a model that stays."""

    @property
    def expires_at(self) -> str:
        """When it leaves memory, as the API writes times."""
        if math.isinf(self.until_s):
            return _FOR_EVER
        return rfc3339(self.until_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedReply:
    """What will be said, known before it is spoken."""

    model: str
    """As the request named it."""
    heard_tokens: int
    words: tuple[str, ...]
    reason: str
    """``stop``, or ``length`` if the limit cut it; ``load`` or ``unload``."""

    @property
    def text(self) -> str:
        """The whole of it."""
        return "".join(self.words)


def echo_reply(model: str, prompt: str, limit: int | None) -> GeneratedReply:
    """Return the answer to a prompt: its own words, at most ``limit`` of them."""
    words = re.findall(r"\s*\S+", f"You said: {prompt}")
    is_cut = limit is not None and 0 < limit < len(words)
    return GeneratedReply(
        model=model,
        heard_tokens=max(1, len(prompt.split())),
        words=tuple(words[:limit] if is_cut else words),
        reason="length" if is_cut else "stop",
    )


class Runner:
    """Which models are in memory, and who may speak."""

    def __init__(self) -> None:
        self._loaded: dict[str, RunnerModel] = {}
        self._keep_alive = os.environ.get("OLLAMA_KEEP_ALIVE") or "5m"
        self._context = int(os.environ.get("OLLAMA_CONTEXT_LENGTH") or 0) or 4096
        self._token_s = float(os.environ.get("AVOCADO_REHEARSAL_TOKEN_S") or 0.01)
        slots = int(os.environ.get("OLLAMA_NUM_PARALLEL") or 0) or 1
        self._slots = asyncio.Semaphore(slots)

    def loaded(self) -> list[RunnerModel]:
        """Return the models in memory; those whose time is up have left."""
        now_s = time.time()
        kept = {k: one for k, one in self._loaded.items() if one.until_s > now_s}
        self._loaded = kept
        return list(kept.values())

    def load(
        self, model: StoredModel, *, keep_alive: Any = None, context: int | None = None
    ) -> None:
        """Put a model into memory, or take it out where ``keep_alive`` is zero."""
        keep_s = _seconds(self._keep_alive if keep_alive is None else keep_alive)
        if keep_s == 0:
            self._loaded.pop(model.name.key, None)
            return
        self._loaded[model.name.key] = RunnerModel(
            model=model,
            context_tokens=min(context or self._context, CONTEXT_TOKENS),
            until_s=time.time() + keep_s,
        )

    async def speak(self, reply: GeneratedReply) -> AsyncIterator[str]:
        """Yield word by word, when it is this request's turn."""
        async with self._slots:
            for word in reply.words:
                await asyncio.sleep(self._token_s)
                yield word


def embedding(text: str) -> list[float]:
    """Return a vector of length one that is always the same for the same text."""
    chance = random.Random(text)
    vector = [chance.gauss(0, 1) for _ in range(EMBEDDING)]
    length = math.hypot(*vector)
    return [number / length for number in vector]


def _seconds(keep_alive: Any) -> float:
    """Read a keep-alive: seconds or Go's ``5m``; a negative one is for ever."""
    text = str(keep_alive)
    seconds = parse_duration_s(text.removeprefix("-"))
    return math.inf if text.startswith("-") and seconds else seconds
