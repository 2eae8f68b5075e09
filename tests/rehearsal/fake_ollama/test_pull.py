"""The stand-in pulls by the registry protocol, with Ollama's progress lines."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from spicy_avocado_magic.config.model_name import ModelName
from spicy_avocado_magic.rehearsal.fake_downloads.tiny_gguf import tiny_gguf
from spicy_avocado_magic.rehearsal.fake_ollama.pull import PullFailed, pull
from spicy_avocado_magic.rehearsal.fake_ollama.store import Store

from ..conftest import Open

DIGEST = f"sha256:{hashlib.sha256(tiny_gguf()).hexdigest()}"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty models folder."""
    return Store(tmp_path)


async def _all(lines: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line async for line in lines]


async def test_a_pull_fetches_all_and_makes_the_model_known(
    registry: str, store: Store
) -> None:
    """The blob is complete, and the last line says success."""
    name = ModelName.parse(f"{registry}/library/tiny")
    lines = await _all(pull(store, name, insecure=True))
    response = [line for line in lines if line.get("digest") == DIGEST]
    assert response[-1]["completed"] == response[-1]["total"] == len(tiny_gguf())
    assert lines[-1] == {"status": "success"}
    assert store.blob_path(DIGEST).read_bytes() == tiny_gguf()
    assert store.find(name.short) is not None


async def test_a_blob_in_place_is_adopted_without_a_look(
    registry: str, store: Store
) -> None:
    """As in Ollama, whoever put it there has checked it."""
    store.blob_path(DIGEST).write_bytes(b"mine")
    name = ModelName.parse(f"{registry}/library/tiny")
    lines = await _all(pull(store, name, insecure=True))
    assert lines[-1] == {"status": "success"}
    assert store.blob_path(DIGEST).read_bytes() == b"mine", "it was fetched again"


async def test_wrong_bytes_are_refused(open_app: Open, store: Store) -> None:
    """A blob that is not what its digest says is never kept."""
    media = "application/vnd.ollama.image.model"
    part = {"mediaType": media, "digest": "sha256:00", "size": 4}
    app = web.Application()

    async def give_manifest(_request: web.Request) -> web.Response:
        return web.json_response({"layers": [part], "config": part})

    async def give_blob(_request: web.Request) -> web.Response:
        return web.Response(body=b"evil")

    app.router.add_get("/v2/library/tiny/manifests/latest", give_manifest)
    app.router.add_get("/v2/library/tiny/blobs/sha256:00", give_blob)
    name = ModelName.parse(f"{await open_app(app)}/library/tiny")
    with pytest.raises(PullFailed, match="digest mismatch"):
        await _all(pull(store, name, insecure=True))
    assert not list(store.blob_path("sha256:00").parent.iterdir())
    assert store.find(name.short) is None


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("missing", "pull model manifest: file does not exist"),
        ("gated", "pull model manifest: unauthorized: access denied"),
        ("newer", "pull model manifest: 412: \nThe model you are attempting to"),
    ],
)
async def test_failures_have_the_words_of_a_real_engine(
    registry: str, store: Store, model: str, message: str
) -> None:
    """What the product reads from a real engine, it can read from this one."""
    name = ModelName.parse(f"{registry}/library/{model}")
    with pytest.raises(PullFailed) as caught:
        await _all(pull(store, name, insecure=True))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "insecure"), [("tiny", True), ("127.0.0.1:9/library/tiny", False)]
)
async def test_a_rehearsal_never_leaves_the_machine(
    store: Store, name: str, insecure: bool
) -> None:
    """Names of the real registry, or without ``insecure``, are not looked up."""
    with pytest.raises(PullFailed, match="only loopback registries"):
        await _all(pull(store, ModelName.parse(name), insecure=insecure))
