"""Models without an engine: manifests read, blobs in their places."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spicy_avocado_magic.config.model_name import ModelName
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.engine.blobs import fetch_blobs
from spicy_avocado_magic.engine.registry import (
    Manifest,
    blob_path,
    installed_manifest,
    read_manifest,
    resolve_source,
)
from spicy_avocado_magic.errors import (
    AvocadoError,
    DownloadFailed,
    ModelUnavailable,
    NetworkUnreachable,
)

from .conftest import Serve
from .registry_host import CONFIG, WEIGHTS, Registry, layer_of, named


def test_names_without_a_host_are_pulled_from_the_configured_registry() -> None:
    """Only the registry changes, and only where none was named."""
    source = resolve_source(ModelName.parse("tiny:1b"), "127.0.0.1:5000")
    assert source.short == "127.0.0.1:5000/library/tiny:1b"
    other = ModelName.parse("hf.co/user/repo:Q4")
    assert resolve_source(other, "127.0.0.1:5000") == other
    assert resolve_source(ModelName.parse("tiny"), "") == ModelName.parse("tiny")


def test_a_rehearsal_contacts_no_real_registry() -> None:
    """Its registry replaces every host, except another one on loopback."""
    real = ModelName.parse("hf.co/user/repo:Q4")
    source = resolve_source(real, "127.0.0.1:5000", for_all=True)
    assert source.short == "127.0.0.1:5000/user/repo:Q4"
    loopback = ModelName.parse("127.0.0.1:6000/library/tiny")
    assert resolve_source(loopback, "127.0.0.1:5000", for_all=True) == loopback


async def test_a_manifest_lists_each_blob_once(
    timeouts: Timeouts, serve: Serve
) -> None:
    """Layers and config are listed with their sizes."""
    registry = Registry()
    manifest = await read_manifest(
        named(await serve(registry.application())), timeouts=timeouts
    )
    assert manifest.size_bytes == len(WEIGHTS) + len(CONFIG)
    assert len(manifest.layers) == 2
    assert [layer.size_bytes for layer in manifest.weights] == [len(WEIGHTS)]
    assert "docker.distribution.manifest.v2" in registry.accepted


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (400, ModelUnavailable, "quantisation"),
        (404, ModelUnavailable, "library/tiny:latest"),
        (412, ModelUnavailable, "newer Ollama"),
        (429, DownloadFailed, "429"),
        (500, DownloadFailed, "HTTP 500"),
    ],
)
async def test_each_status_of_a_registry_has_its_own_message(
    timeouts: Timeouts, serve: Serve, status: int, kind: type[AvocadoError], text: str
) -> None:
    """Each status has its own message and remedy."""
    url = await serve(Registry(manifest_status=status).application())
    with pytest.raises(kind, match=text):
        await read_manifest(named(url), timeouts=timeouts)


async def test_a_request_to_a_busy_registry_is_retried(
    timeouts: Timeouts, serve: Serve
) -> None:
    """One 503 or 429 costs a pause, not a failure of the component."""
    registry = Registry(manifest_statuses=[503, 429, 502])
    source = named(await serve(registry.application()))
    assert (await read_manifest(source, timeouts=timeouts)).layers
    assert registry.manifest_statuses == []


async def test_a_request_to_a_registry_that_disconnects_is_retried(
    timeouts: Timeouts, serve: Serve
) -> None:
    """A broken connection is retried."""
    registry = Registry(manifest_cuts=2)
    source = named(await serve(registry.application()))
    assert (await read_manifest(source, timeouts=timeouts)).layers
    registry.manifest_cuts = 100
    with pytest.raises(DownloadFailed):
        await read_manifest(source, timeouts=timeouts)


async def test_the_error_for_an_unknown_library_model_links_the_library(
    timeouts: Timeouts,
) -> None:
    """The remedy says where names are listed."""
    from spicy_avocado_magic.engine.model_errors import unknown_model_error

    error = unknown_model_error(ModelName.parse("lama3"))
    assert "lama3:latest" in error.problem
    assert "ollama.com/library" in error.remedy


async def test_an_unreachable_registry_is_a_network_error(
    timeouts: Timeouts, unused_tcp_port: int
) -> None:
    """A refused connection is reported as such."""
    with pytest.raises(NetworkUnreachable):
        await read_manifest(
            named(f"http://127.0.0.1:{unused_tcp_port}"), timeouts=timeouts
        )


@pytest.mark.parametrize(
    "registry",
    [
        Registry(manifest_status=401),
        Registry(manifest_status=403),
        Registry(manifest="<html>"),
        Registry(manifest='{"manifests": []}'),
        Registry(
            manifest=json.dumps(
                {"layers": [], "config": {"digest": "sha256:../../evil", "size": 1}}
            )
        ),
    ],
    ids=["401", "403", "not JSON", "another form", "evil digest"],
)
async def test_a_manifest_that_needs_an_account_is_left_to_the_engine(
    timeouts: Timeouts, serve: Serve, tmp_path: Path, registry: Registry
) -> None:
    """Such a manifest has no layers, so there are no blobs to download."""
    source = named(await serve(registry.application()))
    manifest = await read_manifest(source, timeouts=timeouts)
    assert manifest == Manifest(model=source)
    fetched = await fetch_blobs(
        manifest, tmp_path, timeouts=timeouts, on_progress=lambda _digest, _done: None
    )
    assert not fetched
    assert registry.fetched == []


def test_a_model_on_disk_is_found_without_network(tmp_path: Path) -> None:
    """Manifest and all blobs together make a model; one missing blob does not."""
    model = ModelName.parse("tiny")
    path = tmp_path / "manifests/registry.ollama.ai/library/tiny/latest"
    path.parent.mkdir(parents=True)
    path.write_text(Registry().manifest)
    (tmp_path / "blobs").mkdir()
    assert installed_manifest(model, tmp_path) is None
    for blob in (WEIGHTS, CONFIG):
        blob_path(layer_of(blob), tmp_path).write_bytes(blob)
    found = installed_manifest(model, tmp_path)
    assert found is not None
    assert found.size_bytes == len(WEIGHTS) + len(CONFIG)
    blob_path(layer_of(WEIGHTS), tmp_path).write_bytes(WEIGHTS[:-1])
    assert installed_manifest(model, tmp_path) is None, "a short blob was accepted"
