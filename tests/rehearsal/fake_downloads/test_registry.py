"""The registry answers as registry.ollama.ai does; real engines pull from it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from spicy_avocado_magic.rehearsal.fake_downloads.registry import create_registry

from ..conftest import Open, Serve, call


async def test_every_name_has_a_manifest_whose_blobs_exist(registry: str) -> None:
    """Sizes and digests of the manifest are those of the blobs."""
    base = f"http://{registry}/v2/some-user/llama9"
    manifest = json.loads((await call(f"{base}/manifests/70b-q4")).content)
    parts = [*manifest["layers"], manifest["config"]]
    assert len(parts) == 4
    for part in parts:
        blob = await call(f"{base}/blobs/{part['digest']}")
        assert len(blob.content) == part["size"], f"{part['mediaType']}: wrong size"
        found = hashlib.sha256(blob.content).hexdigest()
        assert part["digest"] == f"sha256:{found}", f"{part['mediaType']}: wrong digest"


async def test_a_blob_that_is_not_there_is_404(registry: str) -> None:
    """The error is the registry's own JSON."""
    url = f"http://{registry}/v2/library/tiny/blobs/sha256:00"
    response = await call(url)
    assert response.status == 404
    assert json.loads(response.content)["errors"][0]["code"] == "BLOB_UNKNOWN"


@pytest.mark.parametrize(
    ("model", "status", "message"),
    [
        ("missing-model", 404, b"MANIFEST_UNKNOWN"),
        ("gated-model", 401, b"UNAUTHORIZED"),
        ("newer-model", 412, b"requires a newer version of Ollama"),
    ],
)
async def test_names_that_stand_for_failures_fail(
    registry: str, model: str, status: int, message: bytes
) -> None:
    """Each failure of a real registry can be rehearsed by a model's name."""
    response = await call(f"http://{registry}/v2/library/{model}/manifests/latest")
    assert response.status == status
    assert message in response.content


async def test_other_weights_can_be_served(open_app: Open) -> None:
    """A benchmark may want a larger model."""
    address = await open_app(create_registry(b"x" * 1000))
    response = await call(f"http://{address}/v2/library/big/manifests/latest")
    assert json.loads(response.content)["layers"][0]["size"] == 1000


async def test_a_real_engine_pulls_every_name(
    registry: str, real_ollama: Path, serve: Serve
) -> None:
    """Two names, default and other namespace, arrive and are listed."""
    async with serve(real_ollama) as served:
        for name in ("library/tiny:latest", "some-user/llama9:70b"):
            asked = {"model": f"{registry}/{name}", "insecure": True}
            pulled = await call(f"{served.url}/api/pull", json=asked)
            assert b'{"status":"success"}' in pulled.content, pulled.content
        listed = json.loads((await call(f"{served.url}/api/tags")).content)["models"]
        assert len(listed) == 2, f"not all models arrived: {listed}"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("missing", "file does not exist"),
        ("gated", "unauthorized: access denied"),
        ("newer", "412: \nThe model you are attempting to pull requires a newer"),
    ],
)
async def test_a_real_engine_words_the_failures(
    registry: str, real_ollama: Path, serve: Serve, model: str, message: str
) -> None:
    """The failures reach the engine's client as they do from the real registry."""
    async with serve(real_ollama) as served:
        asked = {"model": f"{registry}/library/{model}", "insecure": True}
        pulled = await call(f"{served.url}/api/pull", json=asked)
    error = json.loads(pulled.content.splitlines()[-1])["error"]
    assert message in error, f"the engine answered: {error}"


async def test_a_real_engine_speaks_with_the_tiny_model(
    registry: str, real_ollama: Path, serve: Serve
) -> None:
    """It loads, generates letters only, and stops at its limit."""
    name = f"{registry}/library/tiny:latest"
    async with serve(real_ollama) as served:
        asked = {"model": name, "insecure": True}
        await call(f"{served.url}/api/pull", json=asked)
        ask = {"model": name, "prompt": "hello", "stream": False}
        response = await call(f"{served.url}/api/generate", json=ask)
        if b"llama-server binary not found" in response.content:
            pytest.skip("this ollama has no llama-server beside it: it cannot speak")
    reply = json.loads(response.content)
    assert response.status == 200, reply
    assert reply["eval_count"] == 64, "the registry's num_predict was not used"
    text = reply["response"]
    assert text.replace(" ", "").isalpha(), f"not letters: {text!r}"
