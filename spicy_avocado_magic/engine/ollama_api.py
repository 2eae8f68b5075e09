"""Models inside a running engine: copied, warmed and listed, by its own API."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import Any

import aiohttp

from ..config.model_name import ModelName
from ..config.timeouts import Timeouts
from ..errors import EngineFailed, UsageError
from .model_errors import error_text, load_error, no_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model in memory, by ``/api/ps``."""

    memory_bytes: int
    gpu_bytes: int
    """The part of the memory that the engine says is on the GPU."""
    context: int
    """Tokens; 0 where the engine does not tell (before 0.12)."""


async def rename_model(
    base_url: str, source: ModelName, destination: ModelName, *, policy: Timeouts
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


async def load_model(
    base_url: str, model: ModelName, *, policy: Timeouts
) -> LoadedModel:
    """Load a model and tell where it went; how long it stays is the engine's setting.

    Raises:
        ModelUnavailable: If the engine does not have it.
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


async def list_loaded(base_url: str, *, policy: Timeouts) -> dict[str, LoadedModel]:
    """Return what is in memory, by the models' keys (``ModelName.key``).

    Raises:
        EngineFailed: If the engine does not answer.
    """
    _, text = await _call(base_url, "GET", "/api/ps", None, policy.request_s)
    found = {}
    for entry in json.loads(text).get("models") or ():
        with contextlib.suppress(UsageError):
            found[ModelName.parse(str(entry.get("name", ""))).key] = LoadedModel(
                memory_bytes=int(entry.get("size") or 0),
                gpu_bytes=int(entry.get("size_vram") or 0),
                context=int(entry.get("context_length") or 0),
            )
    return found


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
        raise no_answer(error) from error
