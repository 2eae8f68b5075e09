"""Pulls by the engine itself (``/api/pull``), restarted when they stall."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ..config.model_name import ModelName
from ..config.timeouts import Timeouts
from ..errors import ComponentFailed
from .download.retry import RetryableError, retry_while_progressing
from .model_errors import pull_error
from .ollama_api import OllamaApi


async def pull_model(
    api: OllamaApi,
    source: ModelName,
    *,
    insecure: bool,
    timeouts: Timeouts,
    on_progress: Callable[[str, int, int], None],
) -> None:
    """Let the engine pull a model: it adopts the blobs on disk and fetches the rest.

    An attempt without progress for ``timeouts.stall_s`` is cancelled and repeated
    after a pause; the engine continues from what it has.

    Args:
        api: Of the engine.
        source: The name to pull by.
        insecure: Whether the registry speaks plain HTTP.
        timeouts: Stall time-outs and the pauses between attempts.
        on_progress: Called with a digest (hex), its bytes on disk, which can be fewer
            than before, and its size.

    Raises:
        ModelUnavailable, DiskTooSmall: If it cannot be pulled.
        NetworkUnreachable, DownloadFailed: If it does not arrive.
        EngineFailed: If the engine does not answer.
    """
    pull = _Pull(api, source, insecure, timeouts, on_progress)
    await retry_while_progressing(
        pull.attempt, position=lambda: pull.done_bytes, timeouts=timeouts
    )


@dataclass(slots=True)
class _Pull:
    """The pull of one model over all attempts."""

    api: OllamaApi
    source: ModelName
    insecure: bool
    timeouts: Timeouts
    on_progress: Callable[[str, int, int], None]
    attempts: int = 0
    layers: dict[str, int] = field(default_factory=dict)
    """The most bytes reported of each layer, by digest."""
    completed: dict[str, int] = field(default_factory=dict)
    """Bytes last reported in this attempt, by step."""

    @property
    def done_bytes(self) -> int:
        """Bytes of all layers over all attempts."""
        return sum(self.layers.values())

    async def attempt(self) -> None:
        """Pull once.

        Raises:
            RetryableError: If another attempt may succeed.
            AvocadoError: If none will.
        """
        self.attempts += 1
        if self.attempts > 1:
            await asyncio.sleep(self.timeouts.pull_pause_s)
        self.completed.clear()
        updates = self.api.stream_pull(self.source, insecure=self.insecure)
        try:
            async with (
                asyncio.timeout(self.timeouts.stall_s) as deadline,
                aclosing(updates),
            ):
                async for update in updates:
                    if "error" in update:
                        self._raise(str(update["error"]))
                    if update.get("status") == "success":
                        return
                    # Updates keep coming while no byte does.
                    if self._has_progressed(update):
                        deadline.reschedule(self._next_deadline(update))
        except TimeoutError:
            self._raise("it stalled")
        self._raise("it ended early")

    def _next_deadline(self, update: dict[str, Any]) -> float:
        """Return the loop time by which the next progress must be reported."""
        is_fetching = "digest" in update or update.get("status") == "pulling manifest"
        # Verifying reports nothing, for minutes on a slow disk.
        timeouts = self.timeouts
        timeout_s = timeouts.stall_s if is_fetching else timeouts.stalled_s
        return asyncio.get_running_loop().time() + timeout_s

    def _has_progressed(self, update: dict[str, Any]) -> bool:
        """Record an update; return whether it is of a new step or of other bytes."""
        status, done = str(update.get("status")), int(update.get("completed") or 0)
        before, self.completed[status] = self.completed.get(status), done
        if "digest" in update:
            digest = str(update["digest"]).removeprefix("sha256:")
            self.layers[digest] = max(done, self.layers.get(digest, 0))
            self.on_progress(digest, done, int(update.get("total") or 0))
        return done != before

    def _raise(self, text: str) -> NoReturn:
        error = pull_error(self.source, text)
        if isinstance(error, ComponentFailed):
            raise RetryableError(error)
        raise error
