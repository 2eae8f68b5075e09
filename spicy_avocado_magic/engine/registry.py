"""Model registries: what a model consists of, asked without an engine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ..config.model_name import DEFAULT_HOST, ModelName
from ..config.timeouts import Timeouts
from ..errors import AvocadoError, DownloadFailed
from .download.http import TRANSIENT_STATUSES, HTTPStatusError, get_text
from .download.retry import RetryableError, retry_while_progressing
from .model_errors import (
    invalid_name_error,
    newer_engine_error,
    rate_limited_error,
    unknown_model_error,
)

_MANIFEST_TYPE: Final = "application/vnd.docker.distribution.manifest.v2+json"
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")
_WEIGHTS: Final = (".image.model", ".image.projector", ".image.adapter")
"""Ends of the media types of what is loaded into memory (server/images.go)."""

AUTH_REQUIRED_STATUSES: Final = frozenset({401, 403})
"""Refusals of us that need not be refusals of the engine, which has a key."""


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
    """What a model consists of."""

    model: ModelName
    """Where it is pulled from."""
    layers: tuple[Layer, ...] = ()
    """Each blob once; empty where only the engine itself may pull it."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all layers; 0 if they are not known."""
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def weights(self) -> tuple[Layer, ...]:
        """The layers that are loaded into memory, the model itself first."""
        return tuple(layer for layer in self.layers if layer.is_weights)


def resolve_source(
    model: ModelName, registry: str, *, for_all: bool = False
) -> ModelName:
    """Return the name to pull a model by, where ``registry`` answers for others.

    Args:
        model: As the user wants to call it.
        registry: ``settings.sources.registry``; empty leaves every name as it is.
        for_all: Whether it answers for every host, as in a rehearsal, which
            reaches for no real one; else only for names without a host.
    """
    is_elsewhere = model.host.lower() != DEFAULT_HOST
    if not registry or (is_elsewhere and (model.is_insecure or not for_all)):
        return model
    return replace(model, host=registry)


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


def blob_path(layer: Layer, models_dir: Path) -> Path:
    """Return where the engine looks for a blob."""
    return models_dir / "blobs" / f"sha256-{layer.sha256}"


async def read_manifest(source: ModelName, *, timeouts: Timeouts) -> Manifest:
    """Ask a model's registry what it consists of; a broken answer is asked anew.

    Where the registry refuses us but may not refuse the engine, or speaks in
    another form, the manifest has no layers and the engine's own pull is left.

    Raises:
        ModelUnavailable: If it does not exist, or needs a newer engine.
        NetworkUnreachable, DownloadFailed: If no answer comes.
    """
    manifests: list[Manifest] = []

    async def attempt() -> None:
        manifests.append(await _ask(source, timeouts))

    await retry_while_progressing(attempt, position=lambda: 0, timeouts=timeouts)
    return manifests[0]


async def _ask(source: ModelName, timeouts: Timeouts) -> Manifest:
    """Ask once.

    Raises:
        Interrupted: If another attempt may do better.
        AvocadoError: If none will.
    """
    url = f"{source.registry_url}/manifests/{source.tag}"
    try:
        return _parse(source, await get_text(url, timeouts, accept=_MANIFEST_TYPE))
    except HTTPStatusError as refused:
        if refused.status in AUTH_REQUIRED_STATUSES:
            return Manifest(model=source)
        error = _meaning(source, refused)
        is_passing = refused.status in TRANSIENT_STATUSES
        if is_passing and isinstance(error, DownloadFailed):
            raise RetryableError(error) from refused
        raise error from refused
    except DownloadFailed as broken:
        raise RetryableError(broken) from broken


def _meaning(source: ModelName, refused: HTTPStatusError) -> AvocadoError:
    by_status: dict[int, Callable[[ModelName], AvocadoError]] = {
        404: unknown_model_error,
        412: newer_engine_error,
        429: rate_limited_error,
    }
    if refused.status in by_status:
        return by_status[refused.status](source)
    if refused.status == 400:  # noqa: PLR2004  (what hf.co answers for a wrong tag)
        return invalid_name_error(source, refused.text)
    return DownloadFailed(
        f"The registry {source.host} answers HTTP {refused.status} for {source.short}.",
        "Try again later.",
    )


def _parse(model: ModelName, text: str) -> Manifest:
    """Read a manifest; one in a form that we do not know has no layers."""
    try:
        plain = json.loads(text)
        listed = [*plain["layers"], plain["config"]]
        layers = [_layer(item) for item in listed if item["digest"]]
    except (ValueError, TypeError, KeyError, AttributeError):
        return Manifest(model=model)
    each = {layer.sha256: layer for layer in reversed(layers)}
    return Manifest(model=model, layers=tuple(reversed(each.values())))


def _layer(plain: Any) -> Layer:
    # The digest becomes a file's name, so nothing but a digest may pass.
    match = _DIGEST.fullmatch(plain["digest"])
    if match is None or not isinstance(plain["size"], int) or plain["size"] < 0:
        message = "not a layer"
        raise ValueError(message)
    media = str(plain.get("mediaType", ""))
    return Layer(
        sha256=match[1],
        size_bytes=plain["size"],
        is_weights=media.endswith(_WEIGHTS),
    )
