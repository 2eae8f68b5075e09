"""A stand-in for the model runner: it loads at once and repeats the prompt."""

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

_NO_EXPIRY: Final = "2318-03-05T00:00:00Z"
"""What Ollama shows for a model without an expiry (now plus Go's longest duration)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerModel:
    """A model in memory."""

    model: StoredModel
    context_tokens: int
    until_s: float
    """Seconds since the epoch; infinite without an expiry."""

    @property
    def expires_at(self) -> str:
        """When the model is unloaded, in the format of the API."""
        if math.isinf(self.until_s):
            return _NO_EXPIRY
        return rfc3339(self.until_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedReply:
    """A complete answer, known before it is streamed."""

    model: str
    """The name in the request."""
    prompt_tokens: int
    words: tuple[str, ...]
    reason: str
    """``stop``, ``length`` at the token limit, ``load`` or ``unload``."""

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.words)


def echo_reply(model: str, prompt: str, limit: int | None) -> GeneratedReply:
    """Return an answer that repeats the prompt, with at most ``limit`` words."""
    words = re.findall(r"\s*\S+", f"You said: {prompt}")
    is_cut = limit is not None and 0 < limit < len(words)
    return GeneratedReply(
        model=model,
        prompt_tokens=max(1, len(prompt.split())),
        words=tuple(words[:limit] if is_cut else words),
        reason="length" if is_cut else "stop",
    )


class Runner:
    """The models in memory, and the slots for parallel requests."""

    def __init__(self) -> None:
        self._loaded: dict[str, RunnerModel] = {}
        self._keep_alive = os.environ.get("OLLAMA_KEEP_ALIVE") or "5m"
        self._context = int(os.environ.get("OLLAMA_CONTEXT_LENGTH") or 0) or 4096
        self._token_s = float(os.environ.get("AVOCADO_REHEARSAL_TOKEN_S") or 0.01)
        slots = int(os.environ.get("OLLAMA_NUM_PARALLEL") or 0) or 1
        self._slots = asyncio.Semaphore(slots)

    def loaded(self) -> list[RunnerModel]:
        """Return the models in memory that have not expired."""
        now_s = time.time()
        kept = {k: model for k, model in self._loaded.items() if model.until_s > now_s}
        self._loaded = kept
        return list(kept.values())

    def load(
        self, model: StoredModel, *, keep_alive: Any = None, context: int | None = None
    ) -> None:
        """Load a model, or unload it if ``keep_alive`` is zero."""
        keep_s = _seconds(self._keep_alive if keep_alive is None else keep_alive)
        if keep_s == 0:
            self._loaded.pop(model.name.key, None)
            return
        self._loaded[model.name.key] = RunnerModel(
            model=model,
            context_tokens=min(context or self._context, CONTEXT_TOKENS),
            until_s=time.time() + keep_s,
        )

    async def stream(self, reply: GeneratedReply) -> AsyncIterator[str]:
        """Yield the answer word by word once a slot is free."""
        async with self._slots:
            for word in reply.words:
                await asyncio.sleep(self._token_s)
                yield word


def embedding(text: str) -> list[float]:
    """Return a unit vector that depends on the text alone."""
    generator = random.Random(text)
    vector = [generator.gauss(0, 1) for _ in range(EMBEDDING)]
    length = math.hypot(*vector)
    return [number / length for number in vector]


def _seconds(keep_alive: Any) -> float:
    """Parse a keep-alive: seconds, or Go's ``5m``; a negative one never expires."""
    text = str(keep_alive)
    seconds = parse_duration_s(text.removeprefix("-"))
    return math.inf if text.startswith("-") and seconds else seconds
