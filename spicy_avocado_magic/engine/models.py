"""Models inside a running engine: adopted, copied, warmed, all by its own API."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from ..errors import ComponentFailed, EngineFailed, UsageMistake
from ..model_name import ModelName
from ..policy import Policy
from .patience import Interrupted, keep_trying
from .refusals import error_text, load_error, pull_error


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
            raise load_error(source, status, error_text(text))


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
        raise load_error(model, status, error_text(text))
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
            raise _no_answer(error) from error

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
            raise Interrupted(error)
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
