"""Client of an Ollama server's HTTP API."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from ..config.model_name import ModelName
from ..config.timeouts import Timeouts
from ..errors import EngineFailed, UsageError
from .model_errors import engine_unreachable_error, load_error

_OK: Final = 200
_BAD_REQUEST: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model in memory, by ``/api/ps``."""

    memory_bytes: int
    gpu_bytes: int
    """The part of the memory that the engine reports as VRAM."""
    context: int
    """Tokens; 0 where the engine does not report it (before 0.12)."""


class OllamaApi:
    """The requests that we make of an Ollama server.

    Every method but ``is_healthy`` raises ``EngineFailed`` where no response comes.

    Args:
        base_url: Where the server listens.
        timeouts: Of these, ``request_s`` and ``model_load_s``.
    """

    def __init__(self, base_url: str, timeouts: Timeouts) -> None:
        self._base_url = base_url
        self._timeouts = timeouts

    async def is_healthy(self, timeout_s: float) -> bool:
        """Return whether the server answers ``/api/version`` in time."""
        try:
            status, _ = await self._request("GET", "/api/version", timeout_s=timeout_s)
        except EngineFailed:
            return False
        return status < _BAD_REQUEST

    async def rename_model(self, source: ModelName, destination: ModelName) -> None:
        """Copy a model to its new name, then delete the old name; its blobs stay.

        Raises:
            ModelUnavailable, EngineFailed: If the server does not do it.
        """
        names = {"source": source.short, "destination": destination.short}
        for method, path, body in (
            ("POST", "/api/copy", names),
            ("DELETE", "/api/delete", {"model": source.short}),
        ):
            status, text = await self._request(method, path, body)
            if status != _OK:
                raise load_error(source, status, text)

    async def load_model(self, model: ModelName) -> LoadedModel:
        """Load a model into memory, for as long as the server's settings say.

        Raises:
            ModelUnavailable: If the server does not have it.
            EngineFailed: If it does not load, with the reason.
        """
        timeout_s, name = self._timeouts.model_load_s, model.short
        body: dict[str, Any] = {"model": name, "stream": False}
        status, text = await self._request("POST", "/api/generate", body, timeout_s)
        if status == _BAD_REQUEST and "does not support" in text:
            body = {"model": name, "input": ""}
            status, text = await self._request("POST", "/api/embed", body, timeout_s)
        if status != _OK:
            raise load_error(model, status, text)
        loaded = (await self.list_loaded()).get(model.key)
        if loaded is None:
            raise EngineFailed(
                f"{name} was loaded and then unloaded at once.",
                "Another model may have taken its memory: run fewer models, or a "
                "smaller --context.",
            )
        return loaded

    async def list_loaded(self) -> dict[str, LoadedModel]:
        """Return the models in memory, by their keys (``ModelName.key``)."""
        _, text = await self._request("GET", "/api/ps")
        loaded = {}
        for entry in json.loads(text).get("models") or ():
            with contextlib.suppress(UsageError):
                loaded[ModelName.parse(str(entry.get("name", ""))).key] = LoadedModel(
                    memory_bytes=int(entry.get("size") or 0),
                    gpu_bytes=int(entry.get("size_vram") or 0),
                    context=int(entry.get("context_length") or 0),
                )
        return loaded

    async def stream_pull(
        self, source: ModelName, *, insecure: bool
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the JSON objects of ``/api/pull`` as they arrive; no time-out.

        Lines that are no JSON object are skipped.
        """
        body = {"model": source.short, "insecure": insecure}
        timeout = aiohttp.ClientTimeout(total=None)
        with _map_errors():
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(f"{self._base_url}/api/pull", json=body) as response,
            ):
                async for line in _lines(response):
                    try:
                        update = json.loads(line)
                    except ValueError:
                        continue
                    if isinstance(update, dict):
                        yield update

    async def _request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        timeout_s: float | None = None,
    ) -> tuple[int, str]:
        """Return the status and the text of a response; ``request_s`` by default."""
        timeout = aiohttp.ClientTimeout(total=timeout_s or self._timeouts.request_s)
        with _map_errors():
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(
                    method, f"{self._base_url}{path}", json=body
                ) as response,
            ):
                return response.status, await response.text(errors="replace")


@contextlib.contextmanager
def _map_errors() -> Iterator[None]:
    """Raise ``EngineFailed`` for errors of the connection to the engine."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
        raise engine_unreachable_error(error) from error


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield the lines of a body, however long they are."""
    buffered = b""
    async for chunk in response.content.iter_any():
        *lines, buffered = (buffered + chunk).split(b"\n")
        for line in filter(None, lines):
            yield line
    if buffered:
        yield buffered
