"""Pulls by an engine, and checks that it has a model."""

from __future__ import annotations

import aiohttp

from spicy_avocado_magic.config.model_name import ModelName
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.engine.ollama_api import OllamaApi
from spicy_avocado_magic.engine.progress import DownloadProgress
from spicy_avocado_magic.engine.pull import pull_model


async def pull(
    base_url: str, source: ModelName, timeouts: Timeouts
) -> list[tuple[int, int]]:
    """Let an engine pull; return the reported progress."""
    progress: list[tuple[int, int]] = []
    tally = DownloadProgress()

    def note(digest: str, done: int, size: int) -> None:
        tally.expect(digest, size)
        tally.record(digest, done)
        progress.append((tally.done_bytes, tally.total_bytes))

    await pull_model(
        OllamaApi(base_url, timeouts),
        source,
        insecure=source.is_insecure,
        timeouts=timeouts,
        on_progress=note,
    )
    return progress


async def has_model(base_url: str, model: ModelName) -> bool:
    """Whether an engine has a model."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{base_url}/api/show", json={"model": model.short}) as response,
    ):
        return response.status == 200
