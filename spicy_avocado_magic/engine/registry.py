"""Manifests of models, from their registries and from the models folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from ..config.model_name import DEFAULT_HOST, ModelName
from ..config.timeouts import Timeouts
from ..errors import AvocadoError, DownloadFailed
from .download.http import HTTPStatusError, get_text_with_retries, status_of
from .model_errors import (
    invalid_name_error,
    newer_engine_error,
    rate_limited_error,
    unknown_model_error,
)

_MANIFEST_TYPE: Final = "application/vnd.docker.distribution.manifest.v2+json"
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_WEIGHTS: Final = (".image.model", ".image.projector", ".image.adapter")
"""Suffixes of the media types that are loaded into memory (server/images.go)."""

AUTH_REQUIRED_STATUSES: Final = frozenset({401, 403})
"""Statuses that the engine may not get, since it has a key of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One blob of a model."""

    sha256: str
    """Hex digest; also its name on disk and in the registry."""
    size_bytes: int
    is_weights: bool = False
    """Whether it is loaded into memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The layers of a model."""

    model: ModelName
    """The name that it is pulled by."""
    layers: tuple[Layer, ...] = ()
    """Each blob once; empty where only the engine can pull it."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all layers; 0 if they are unknown."""
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def weights(self) -> tuple[Layer, ...]:
        """The layers that are loaded into memory, the model itself first."""
        return tuple(layer for layer in self.layers if layer.is_weights)


def resolve_source(
    model: ModelName, registry: str, *, for_all: bool = False
) -> ModelName:
    """Return the name to pull a model by, with ``registry`` in place of its host.

    Args:
        model: As the user calls it.
        registry: ``settings.sources.registry``; empty leaves every name as it is.
        for_all: Whether it replaces every host, as in a rehearsal, which contacts no
            real one; else only that of names without a host.
    """
    is_elsewhere = model.host.lower() != DEFAULT_HOST
    if not registry or (is_elsewhere and (model.is_insecure or not for_all)):
        return model
    return replace(model, host=registry)


def installed_manifest(model: ModelName, models_dir: Path) -> Manifest | None:
    """Return the manifest of a model that is complete on disk, else None; blocks.

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


def blob_path(layer: Layer, models_dir: Path) -> Path:
    """Return the path at which the engine keeps a blob."""
    return models_dir / "blobs" / f"sha256-{layer.sha256}"


async def read_manifest(source: ModelName, *, timeouts: Timeouts) -> Manifest:
    """Return a model's manifest from its registry.

    It has no layers, which leaves the model to the engine's own pull, where the
    registry requires an account or the manifest has an unknown format.

    Raises:
        ModelUnavailable: If it does not exist, or needs a newer engine.
        NetworkUnreachable, DownloadFailed: If no response arrives.
    """
    url = f"{source.registry_url}/manifests/{source.tag}"
    try:
        text = await get_text_with_retries(
            url,
            timeouts,
            accept=_MANIFEST_TYPE,
            status_error=partial(_status_error, source),
        )
    except AvocadoError as error:
        if status_of(error) in AUTH_REQUIRED_STATUSES:
            return Manifest(model=source)
        raise
    return _parse(source, text)


def _status_error(source: ModelName, response: HTTPStatusError) -> AvocadoError:
    by_status: dict[int, Callable[[ModelName], AvocadoError]] = {
        404: unknown_model_error,
        412: newer_engine_error,
        429: rate_limited_error,
    }
    if response.status in by_status:
        return by_status[response.status](source)
    if response.status == 400:  # noqa: PLR2004  (what hf.co answers for a wrong tag)
        return invalid_name_error(source, response.text)
    return DownloadFailed(
        f"The registry {source.host} answers HTTP {response.status} for "
        f"{source.short}.",
        "Try again later.",
    )


def _parse(model: ModelName, text: str) -> Manifest:
    """Parse a manifest; one in an unknown format has no layers."""
    try:
        manifest = json.loads(text)
        listed = [*manifest["layers"], manifest["config"]]
        layers = [_layer(item) for item in listed if item["digest"]]
    except (ValueError, TypeError, KeyError, AttributeError):
        return Manifest(model=model)
    each = {layer.sha256: layer for layer in reversed(layers)}
    return Manifest(model=model, layers=tuple(reversed(each.values())))


def _layer(item: Any) -> Layer:
    # The digest becomes a file name, so nothing else may pass.
    match = _DIGEST.fullmatch(item["digest"])
    if match is None or not isinstance(item["size"], int) or item["size"] < 0:
        message = "not a layer"
        raise ValueError(message)
    media = str(item.get("mediaType", ""))
    return Layer(
        sha256=match[1],
        size_bytes=item["size"],
        is_weights=media.endswith(_WEIGHTS),
    )
