"""Models in an engine: adopted, renamed, loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from spicy_avocado_magic.config.model_name import ModelName
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.engine.blobs import fetch_blobs
from spicy_avocado_magic.engine.ollama_api import LoadedModel, OllamaApi
from spicy_avocado_magic.engine.ollama_process import OllamaProcess
from spicy_avocado_magic.engine.registry import (
    installed_manifest,
    read_manifest,
    resolve_source,
)
from spicy_avocado_magic.errors import (
    AvocadoError,
    EngineFailed,
    ModelUnavailable,
)
from spicy_avocado_magic.rehearsal.fake_downloads.registry import create_registry

from .conftest import Serve
from .running import has_model, pull

TINY = ModelName.parse("tiny")


async def test_a_model_comes_from_a_registry_into_memory(
    engine: OllamaProcess, serve: Serve, tmp_path: Path, timeouts: Timeouts
) -> None:
    """Blobs are downloaded by us, adopted, renamed to the short name, and loaded."""
    registry = (await serve(create_registry())).removeprefix("http://")
    source = resolve_source(TINY, registry)
    models_dir = tmp_path / "models"
    manifest = await read_manifest(source, timeouts=timeouts)
    assert await fetch_blobs(
        manifest, models_dir, timeouts=timeouts, on_progress=lambda _digest, _done: None
    )
    progress = await pull(engine.base_url, source, timeouts)
    assert progress[-1] == (manifest.size_bytes, manifest.size_bytes)
    await engine.api.rename_model(source, TINY)
    assert await has_model(engine.base_url, TINY)
    assert not await has_model(engine.base_url, source)
    assert installed_manifest(TINY, models_dir) is not None
    loaded = await engine.api.load_model(TINY)
    assert loaded.memory_bytes > 0
    assert loaded.context in {0, 512}


async def test_loading_a_missing_model_is_a_clear_error(
    engine: OllamaProcess, timeouts: Timeouts
) -> None:
    """The error names the model and is no crash."""
    assert not await has_model(engine.base_url, TINY)
    with pytest.raises(ModelUnavailable, match="tiny:latest is not installed"):
        await engine.api.load_model(TINY)


async def test_an_engine_that_does_not_answer_is_one_error(
    timeouts: Timeouts, unused_tcp_port: int
) -> None:
    """Every call raises the same error."""
    url = f"http://127.0.0.1:{unused_tcp_port}"
    with pytest.raises(EngineFailed):
        await pull(url, TINY, timeouts)
    with pytest.raises(EngineFailed):
        await OllamaApi(url, timeouts).load_model(TINY)


def loading_engine(status: int, text: str, loaded: str = "tiny:latest") -> Any:
    """Return an engine that answers a load with a status and an error."""

    async def generate(_request: web.Request) -> web.Response:
        return web.json_response({"error": text} if text else {}, status=status)

    async def embed(_request: web.Request) -> web.Response:
        return web.json_response({"embeddings": []})

    async def ps(_request: web.Request) -> web.Response:
        entry = {"name": loaded, "size": 5, "size_vram": 3, "context_length": 7}
        return web.json_response({"models": [{"name": "b@d"}, entry]})

    app = web.Application()
    app.router.add_post("/api/generate", generate)
    app.router.add_post("/api/embed", embed)
    app.router.add_get("/api/ps", ps)
    return app


@pytest.mark.parametrize(
    ("status", "text"),
    [(200, ""), (400, '"tiny:latest" does not support generate')],
)
async def test_models_of_every_kind_are_loaded_and_measured(
    timeouts: Timeouts, serve: Serve, status: int, text: str
) -> None:
    """An embedding model is loaded by /api/embed."""
    url = await serve(loading_engine(status, text))
    loaded = await OllamaApi(url, timeouts).load_model(TINY)
    assert loaded == LoadedModel(memory_bytes=5, gpu_bytes=3, context=7)


@pytest.mark.parametrize(
    ("status", "text", "kind", "message"),
    [
        (500, "cudaMalloc failed: out of memory", EngineFailed, "not enough memory"),
        (
            500,
            "model requires more system memory (9 GiB) than is available (1 GiB)",
            EngineFailed,
            "not enough memory",
        ),
        (500, "runner process has terminated: signal: killed", EngineFailed, "memory"),
        (500, "runner process has terminated: exit status 2", EngineFailed, "crashed"),
        (500, "\x1b[31mstrange", EngineFailed, "loaded: .31mstrange|loaded: strange"),
        (403, "remote model", ModelUnavailable, "cloud"),
    ],
)
async def test_each_cause_of_a_failed_load_has_its_own_message(
    timeouts: Timeouts,
    serve: Serve,
    status: int,
    text: str,
    kind: type[AvocadoError],
    message: str,
) -> None:
    """Memory, crashes and the cloud have messages of their own."""
    url = await serve(loading_engine(status, text))
    with pytest.raises(kind, match=message) as caught:
        await OllamaApi(url, timeouts).load_model(TINY)
    assert "\x1b" not in str(caught.value)


async def test_a_model_unloaded_at_once_is_an_error(
    timeouts: Timeouts, serve: Serve
) -> None:
    """A load after which nothing is in memory is no success."""
    url = await serve(loading_engine(200, "", loaded="other:latest"))
    with pytest.raises(EngineFailed, match="unloaded at once"):
        await OllamaApi(url, timeouts).load_model(TINY)
