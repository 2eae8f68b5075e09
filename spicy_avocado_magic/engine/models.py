"""Models inside a running engine: adopted, copied, warmed, all by its own API."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from ..errors import ComponentFailed, EngineFailed, UsageMistake
from ..model_name import ModelName
from ..policy import Policy
from .patience import Interrupted, keep_trying
from .refusals import load_error, pull_error


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A model in memory, by ``/api/ps``."""

    memory_bytes: int
    gpu_bytes: int
    """The part of the memory that the engine says is on the GPU."""
    context: int
    """Tokens; 0 where the engine does not tell (before 0.12)."""


async def is_installed(base_url: str, model: ModelName, *, policy: Policy) -> bool:
    """Whether the engine has a model.

    Raises:
        EngineFailed: If the engine does not answer.
    """
    status, _ = await _call(
        base_url, "POST", "/api/show", {"model": model.short}, policy.request_s
    )
    return status == 200  # noqa: PLR2004  (HTTP's "OK")


async def copy(
    base_url: str, source: ModelName, destination: ModelName, *, policy: Policy
) -> None:
    """Rename a model: copy it, then delete the old name; its blobs stay.

    Raises:
        EngineFailed: If the engine does not do it.
    """
    names = {"source": source.short, "destination": destination.short}
    for method, path, body in (
        ("POST", "/api/copy", names),
        ("DELETE", "/api/delete", {"model": source.short}),
    ):
        status, text = await _call(base_url, method, path, body, policy.request_s)
        if status != 200:  # noqa: PLR2004  (HTTP's "OK")
            raise load_error(source, status, _error_text(text))


async def warm(base_url: str, model: ModelName, *, policy: Policy) -> Loaded:
    """Load a model and tell where it went; how long it stays is the engine's setting.

    Raises:
        ModelRefused: If the engine does not have it.
        EngineFailed: If it does not load, with why in plain words.
    """
    body = {"model": model.short, "stream": False}
    status, text = await _call(
        base_url, "POST", "/api/generate", body, policy.model_load_s
    )
    if status == 400 and "does not support" in text:  # noqa: PLR2004  (bad request)
        body = {"model": model.short, "input": ""}
        status, text = await _call(
            base_url, "POST", "/api/embed", body, policy.model_load_s
        )
    if status != 200:  # noqa: PLR2004  (HTTP's "OK")
        raise load_error(model, status, _error_text(text))
    loaded = (await list_loaded(base_url, policy=policy)).get(model.key)
    if loaded is None:
        raise EngineFailed(
            f"{model.short} was loaded but left memory at once.",
            "Another model may have pushed it out: run fewer, or a smaller --context.",
        )
    return loaded


async def list_loaded(base_url: str, *, policy: Policy) -> dict[str, Loaded]:
    """Return what is in memory, by the models' keys (``ModelName.key``).

    Raises:
        EngineFailed: If the engine does not answer.
    """
    _, text = await _call(base_url, "GET", "/api/ps", None, policy.request_s)
    found = {}
    for entry in json.loads(text).get("models") or ():
        with contextlib.suppress(UsageMistake):
            found[ModelName.parse(str(entry.get("name", ""))).key] = Loaded(
                memory_bytes=int(entry.get("size") or 0),
                gpu_bytes=int(entry.get("size_vram") or 0),
                context=int(entry.get("context_length") or 0),
            )
    return found


async def adopt(
    base_url: str,
    source: ModelName,
    *,
    insecure: bool,
    policy: Policy,
    on_progress: Callable[[int, int], None],
) -> None:
    """Let the engine pull: it takes over blobs that are there, and fetches others.

    An attempt whose bytes stand still for ``policy.stall_s`` is ended and made
    anew after a pause; the engine goes on from what it has. Progress counts the
    layers that the engine has named so far, and never runs backwards.

    Raises:
        ModelRefused, DiskTooSmall: If it cannot be had.
        NetworkUnreachable, DownloadFailed: If it does not arrive.
        EngineFailed: If the engine does not answer.
    """
    pull = _Pull(base_url, source, insecure, policy, on_progress)
    await keep_trying(pull.attempt, position=lambda: pull.done, policy=policy)


class _Pull:
    """One model's way in through ``/api/pull``, over as many attempts as it takes."""

    def __init__(
        self,
        base_url: str,
        source: ModelName,
        insecure: bool,
        policy: Policy,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self.done = 0
        self._base_url = base_url
        self._source = source
        self._insecure = insecure
        self._policy = policy
        self._on_progress = on_progress
        self._layers: dict[str, tuple[int, int]] = {}

    async def attempt(self) -> None:
        """Pull once.

        Raises:
            Interrupted: If another attempt may do better.
            AvocadoError: If none will.
        """
        body = {"model": self._source.short, "insecure": self._insecure}
        timeout = aiohttp.ClientTimeout(
            total=None, sock_read=max(self._policy.stalled_s, self._policy.stall_s)
        )
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(f"{self._base_url}/api/pull", json=body) as response,
            ):
                await self._follow(response)
        except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
            raise _no_answer(error) from error

    async def _follow(self, response: aiohttp.ClientResponse) -> None:
        """Read the stream to its ``success``; lines come even while bytes do not."""
        moved_at = time.monotonic()
        before: object = None
        async for line in _lines(response):
            told = json.loads(line)
            if "error" in told:
                self._raise(str(told["error"]))
            if told.get("status") == "success":
                return
            self._count(told)
            now = (told.get("status"), told.get("completed"))
            is_fetching = "digest" in told
            if now != before or not is_fetching:
                before, moved_at = now, time.monotonic()
            elif time.monotonic() - moved_at > self._policy.stall_s:
                self._raise("it stands still")
        self._raise("it ended early")

    def _count(self, told: dict[str, Any]) -> None:
        if "digest" not in told:
            return
        digest, total = str(told["digest"]), int(told.get("total") or 0)
        done = max(int(told.get("completed") or 0), self._layers.get(digest, (0, 0))[0])
        self._layers[digest] = (done, total)
        self.done = sum(done for done, _ in self._layers.values())
        self._on_progress(self.done, sum(total for _, total in self._layers.values()))

    def _raise(self, text: str) -> None:
        error = pull_error(self._source, text)
        if isinstance(error, ComponentFailed):
            raise Interrupted(error)
        raise error


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    buffered = b""
    async for chunk in response.content.iter_any():
        *lines, buffered = (buffered + chunk).split(b"\n")
        for line in filter(None, lines):
            yield line
    if buffered:
        yield buffered


async def _call(
    base_url: str,
    method: str,
    path: str,
    body: dict[str, Any] | None,
    timeout_s: float,
) -> tuple[int, str]:
    """Make one request to the engine; return its status and text.

    Raises:
        EngineFailed: If it does not answer in time.
    """
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(method, f"{base_url}{path}", json=body) as response,
        ):
            return response.status, await response.text(errors="replace")
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise _no_answer(error) from error


def _no_answer(error: Exception) -> EngineFailed:
    return EngineFailed(
        f"Ollama does not answer ({type(error).__name__}).",
        "It is started anew by itself; %avocado_status shows its log.",
    )


def _error_text(text: str) -> str:
    """Return what the engine says went wrong, whatever form it says it in."""
    try:
        plain = json.loads(text)
    except ValueError:
        return text
    return str(plain.get("error", text)) if isinstance(plain, dict) else text
