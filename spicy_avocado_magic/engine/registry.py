"""Model registries: manifests read and blobs fetched without an engine."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from ..errors import AvocadoError, DownloadFailed
from ..model_name import DEFAULT_HOST, ModelName
from ..policy import Policy
from .connections import StatusRefused, get_text
from .disk import require_space
from .download import fetch, refused_status
from .refusals import newer_engine, rate_limited, unknown_model

_MANIFEST_TYPE: Final = "application/vnd.docker.distribution.manifest.v2+json"
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_ENGINE_MAY: Final = frozenset({401, 403})
"""Refusals of us that need not be refusals of the engine, which has a key."""

_FETCHING: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
"""A lock for each blob that is on its way; models share layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One blob of a model."""

    sha256: str
    """Hex digest; also its name on disk and in the registry."""
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a model consists of."""

    model: ModelName
    """Where it is pulled from."""
    layers: tuple[Layer, ...] = ()
    """Each blob once; empty where only the engine itself may pull it."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all layers; 0 if they are not known."""
        return sum(layer.size_bytes for layer in self.layers)


def source_of(model: ModelName, registry: str) -> ModelName:
    """Return the name to pull a model by, where ``registry`` answers for the rest.

    Args:
        model: As the user wants to call it.
        registry: ``settings.sources.registry``; empty leaves every name as it is.
    """
    if registry and model.host.lower() == DEFAULT_HOST:
        return replace(model, host=registry)
    return model


def installed_manifest(model: ModelName, models_dir: Path) -> Manifest | None:
    """Return the manifest of a model that is wholly on disk; blocks; else None.

    The layout is that of ``PathForName`` and ``BlobsPath`` (manifest/paths.go).
    """
    folder = models_dir / "manifests" / model.host / model.namespace
    try:
        text = (folder / model.model / model.tag).read_text(encoding="utf-8")
        manifest = _parse(model, text)
        sizes = [
            blob_path(layer, models_dir).stat().st_size == layer.size_bytes
            for layer in manifest.layers
        ]
    except OSError:
        return None
    return manifest if sizes and all(sizes) else None


async def read_manifest(source: ModelName, *, policy: Policy) -> Manifest:
    """Ask a model's registry what it consists of.

    Where the registry refuses us but may not refuse the engine, or speaks in
    another form, the manifest has no layers and the engine's own pull is left.

    Raises:
        ModelRefused: If it does not exist, or needs a newer engine.
        NetworkUnreachable, DownloadFailed: If no answer comes.
    """
    url = f"{source.registry_url}/manifests/{source.tag}"
    try:
        text = await get_text(url, policy, accept=_MANIFEST_TYPE)
    except StatusRefused as refused:
        if refused.status in _ENGINE_MAY:
            return Manifest(model=source)
        raise _meaning(source, refused) from refused
    return _parse(source, text)


def _meaning(source: ModelName, refused: StatusRefused) -> AvocadoError:
    match refused.status:
        case 404:
            return unknown_model(source)
        case 412:
            return newer_engine(source)
        case 429:
            return rate_limited(source)
        case status:
            return DownloadFailed(
                f"The registry {source.host} answers HTTP {status} for {source.short}.",
                "Try again later.",
            )


def _parse(model: ModelName, text: str) -> Manifest:
    """Read a manifest; one in a form that we do not know has no layers."""
    try:
        plain = json.loads(text)
        listed = [*plain["layers"], plain["config"]]
        layers = dict.fromkeys(_layer(item) for item in listed if item["digest"])
    except (ValueError, TypeError, KeyError):
        return Manifest(model=model)
    return Manifest(model=model, layers=tuple(layers))


def _layer(plain: Any) -> Layer:
    # The digest becomes a file's name, so nothing but a digest may pass.
    match = _DIGEST.fullmatch(plain["digest"])
    if match is None or not isinstance(plain["size"], int) or plain["size"] < 0:
        message = "not a layer"
        raise ValueError(message)
    return Layer(sha256=match[1], size_bytes=plain["size"])


def blob_path(layer: Layer, models_dir: Path) -> Path:
    """Return where the engine looks for a blob."""
    return models_dir / "blobs" / f"sha256-{layer.sha256}"


async def fetch_blobs(
    manifest: Manifest,
    models_dir: Path,
    *,
    policy: Policy,
    on_progress: Callable[[int, int], None],
) -> bool:
    """Bring a model's blobs to where the engine adopts them; largest first.

    Blobs that are there are not fetched. Progress counts all layers and never
    runs backwards.

    Returns:
        Whether all are there; if not, the engine's own pull is left.

    Raises:
        DiskTooSmall: Before the first byte, if they do not fit.
        NetworkUnreachable, DownloadFailed: If one does not arrive.
    """
    total = manifest.size_bytes
    ordered = sorted(manifest.layers, key=lambda layer: -layer.size_bytes)
    missing = await asyncio.to_thread(_missing_bytes, ordered, models_dir)
    require_space(models_dir, missing)
    before, furthest = 0, 0

    def report(done: int, _total: int) -> None:
        nonlocal furthest
        furthest = max(furthest, before + done)
        on_progress(furthest, total)

    for layer in ordered:
        try:
            await _fetch_blob(manifest.model, layer, models_dir, policy, report)
        except DownloadFailed as error:
            if refused_status(error) in _ENGINE_MAY:
                return False
            raise
        report(layer.size_bytes, total)
        before += layer.size_bytes
    return bool(ordered)


async def _fetch_blob(
    model: ModelName,
    layer: Layer,
    models_dir: Path,
    policy: Policy,
    on_progress: Callable[[int, int], None],
) -> None:
    path = blob_path(layer, models_dir)
    lock = _FETCHING.setdefault(path, asyncio.Lock())
    async with lock:
        if not path.exists():
            await fetch(
                f"{model.registry_url}/blobs/sha256:{layer.sha256}",
                path,
                size=layer.size_bytes,
                sha256=layer.sha256,
                policy=policy,
                on_progress=on_progress,
            )


def _missing_bytes(layers: list[Layer], models_dir: Path) -> int:
    missing = 0
    for layer in layers:
        path = blob_path(layer, models_dir)
        part = path.with_name(path.name + ".part")
        if not path.exists():
            missing += layer.size_bytes
            missing -= part.stat().st_size if part.exists() else 0
    return missing
