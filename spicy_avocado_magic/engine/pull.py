"""A model's way into a running engine: its own pull, which adopts what is there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from ..config.model_name import ModelName
from ..config.timeouts import Timeouts
from ..errors import ComponentFailed
from .download.retry import RetryableError, retry_while_progressing
from .model_errors import no_answer, pull_error


async def pull_model(
    base_url: str,
    source: ModelName,
    *,
    insecure: bool,
    policy: Timeouts,
    on_progress: Callable[[str, int, int], None],
) -> None:
    """Let the engine pull: it takes over blobs that are there, and fetches others.

    An attempt whose bytes stand still for ``policy.stall_s`` is ended and made
    anew after a pause; the engine goes on from what it has.

    Args:
        base_url: The engine's.
        source: The name to pull by.
        insecure: Whether the registry speaks plain HTTP.
        policy: The waits.
        on_progress: Told the digest (hex), its bytes that are here, which may be
            fewer than were told before, and its size.

    Raises:
        ModelUnavailable, DiskTooSmall: If it cannot be had.
        NetworkUnreachable, DownloadFailed: If it does not arrive.
        EngineFailed: If the engine does not answer.
    """
    pull = _Pull(base_url, source, insecure, policy, on_progress)
    await retry_while_progressing(
        pull.attempt, position=lambda: pull.done, policy=policy
    )


class _Pull:
    """One model's way in through ``/api/pull``, over as many attempts as it takes."""

    def __init__(
        self,
        base_url: str,
        source: ModelName,
        insecure: bool,
        policy: Timeouts,
        on_progress: Callable[[str, int, int], None],
    ) -> None:
        self._attempts = 0
        self._base_url = base_url
        self._source = source
        self._insecure = insecure
        self._policy = policy
        self._on_progress = on_progress
        self._layers: dict[str, int] = {}
        self._told: dict[str, int] = {}
        """Bytes at last, by step, as this attempt told them."""

    @property
    def done(self) -> int:
        """Bytes of all layers, as far as any attempt came."""
        return sum(self._layers.values())

    async def attempt(self) -> None:
        """Pull once.

        Raises:
            Interrupted: If another attempt may do better.
            AvocadoError: If none will.
        """
        self._attempts += 1
        if self._attempts > 1:
            await asyncio.sleep(self._policy.pull_pause_s)
        self._told.clear()
        body = {"model": self._source.short, "insecure": self._insecure}
        no_timeout = aiohttp.ClientTimeout(total=None)
        try:
            async with (
                asyncio.timeout(self._policy.stall_s) as patience,
                aiohttp.ClientSession(timeout=no_timeout) as session,
                session.post(f"{self._base_url}/api/pull", json=body) as response,
            ):
                await self._follow(response, patience)
        except TimeoutError:
            self._raise("it stands still")
        except (aiohttp.ClientError, ConnectionError) as error:
            raise no_answer(error) from error

    async def _follow(
        self, response: aiohttp.ClientResponse, patience: asyncio.Timeout
    ) -> None:
        """Read the stream to its ``success``; lines come even while bytes do not."""
        async for line in _lines(response):
            told = _parsed(line)
            if "error" in told:
                self._raise(str(told["error"]))
            if told.get("status") == "success":
                return
            if self._has_moved(told):
                patience.reschedule(self._patience_ends(told))
        self._raise("it ended early")

    def _patience_ends(self, told: dict[str, Any]) -> float:
        """Return by when something new must be told, in the loop's time."""
        is_fetching = "digest" in told or told.get("status") == "pulling manifest"
        # Verifying tells nothing for minutes where the disk is slow.
        patience_s = self._policy.stall_s if is_fetching else self._policy.stalled_s
        return asyncio.get_running_loop().time() + patience_s

    def _has_moved(self, told: dict[str, Any]) -> bool:
        """Count a line; whether it tells of a new step, or of more bytes."""
        status, done = str(told.get("status")), int(told.get("completed") or 0)
        before, self._told[status] = self._told.get(status), done
        if "digest" in told:
            digest = str(told["digest"]).removeprefix("sha256:")
            self._layers[digest] = max(done, self._layers.get(digest, 0))
            self._on_progress(digest, done, int(told.get("total") or 0))
        return done != before

    def _raise(self, text: str) -> None:
        error = pull_error(self._source, text)
        if isinstance(error, ComponentFailed):
            raise RetryableError(error)
        raise error


def _parsed(line: bytes) -> dict[str, Any]:
    """Read a line; one that says nothing we know is passed over."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    buffered = b""
    async for chunk in response.content.iter_any():
        *lines, buffered = (buffered + chunk).split(b"\n")
        for line in filter(None, lines):
            yield line
    if buffered:
        yield buffered
