"""Download of models' blobs into the models folder, where the engine adopts them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final
from weakref import WeakValueDictionary

from ..config.model_name import ModelName
from ..config.timeouts import Timeouts
from ..errors import AvocadoError, DownloadFailed, UsageError
from .download.disk_space import require_space
from .download.http import get, read_at_most, status_of
from .download.verified_download import download_file
from .download.window import SEGMENT_BYTES
from .hardware.gguf import HEAD_BYTES, ModelArchitecture, read_architecture
from .registry import AUTH_REQUIRED_STATUSES, Layer, Manifest, blob_path

_DOWNLOADS: WeakValueDictionary[Path, asyncio.Lock] = WeakValueDictionary()
"""A lock for each blob that is being downloaded; models share layers."""

_STAT_BLOCK_BYTES: Final = 512


def downloaded_bytes(layer: Layer, models_dir: Path) -> int:
    """Return the bytes of a blob that are on disk, complete or partial; blocks."""
    path = blob_path(layer, models_dir)
    if _is_complete(layer, path):
        return layer.size_bytes
    try:
        part = path.with_name(path.name + ".part").stat()
    except OSError:
        return 0
    # A partial file may have holes, which are not on disk yet.
    return min(part.st_size, part.st_blocks * _STAT_BLOCK_BYTES, layer.size_bytes)


def _is_complete(layer: Layer, path: Path) -> bool:
    """Return whether a blob has its full size, which the engine does not check."""
    try:
        return path.stat().st_size == layer.size_bytes
    except OSError:
        return False


def require_disk_space(manifests: Iterable[Manifest], models_dir: Path) -> None:
    """Check that all models together fit into their folder; blocks.

    Raises:
        DiskTooSmall: Naming the folder, the bytes needed and the bytes free.
        UsageError: If there is something to download and the folder is not writable.
    """
    layers = {
        layer.sha256: layer for manifest in manifests for layer in manifest.layers
    }
    missing = sum(
        layer.size_bytes - downloaded_bytes(layer, models_dir)
        for layer in layers.values()
    )
    if not missing:
        return
    blobs = models_dir / "blobs"
    try:
        blobs.mkdir(parents=True, exist_ok=True)
        can_write = os.access(blobs, os.W_OK | os.X_OK)
        reason = "it is read-only"
    except OSError as error:
        can_write, reason = False, error.strerror or str(error)
    if not can_write:
        raise UsageError(
            f"Models cannot be stored in {models_dir} ({reason}).",
            "Point --models-dir at a folder that you can write to.",
        )
    require_space(models_dir, missing)


async def read_model_architecture(
    manifest: Manifest, models_dir: Path, *, timeouts: Timeouts
) -> ModelArchitecture | None:
    """Return a model's architecture by the head of its weights, on disk or remote.

    None where that fails: it only serves an estimate, and the download that follows
    reports errors.
    """
    if not manifest.weights:
        return None
    layer = manifest.weights[0]
    path = blob_path(layer, models_dir)
    try:
        head = await asyncio.to_thread(_read_head, path)
    except OSError:
        try:
            head = await _download_head(blob_url(manifest.model, layer), timeouts)
        except AvocadoError:
            return None
    return read_architecture(head)


def _read_head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


async def _download_head(url: str, timeouts: Timeouts) -> bytes:
    """Return the first bytes of a blob; stop reading if the server ignores ranges."""
    headers = {"Accept-Encoding": "identity", "Range": f"bytes=0-{HEAD_BYTES - 1}"}
    async with get(url, timeouts, headers) as response:
        return await read_at_most(response, HEAD_BYTES)


def blob_url(model: ModelName, layer: Layer) -> str:
    """Return a blob's URL in its registry."""
    return f"{model.registry_url}/blobs/sha256:{layer.sha256}"


async def fetch_blobs(
    manifest: Manifest,
    models_dir: Path,
    *,
    timeouts: Timeouts,
    on_progress: Callable[[str, int], None],
) -> bool:
    """Download the missing blobs of a model into the models folder.

    Large blobs come one after the other, the largest first, since each has a window
    in memory. Small ones come beside them, since each waits for the server rather than
    for bytes.

    Args:
        manifest: Of the model.
        models_dir: The engine's models folder.
        timeouts: Of the downloads.
        on_progress: Called with a digest (hex) and its bytes on disk, which are fewer
            than before if the download starts again.

    Returns:
        Whether all are on disk; if not, the engine itself must pull the model.

    Raises:
        NetworkUnreachable, DownloadFailed, DiskTooSmall: If one does not arrive.
    """

    async def fetch(layers: Iterable[Layer]) -> None:
        for layer in layers:
            path = blob_path(layer, models_dir)
            async with _DOWNLOADS.setdefault(path, asyncio.Lock()):
                if not _is_complete(layer, path):
                    await download_file(
                        blob_url(manifest.model, layer),
                        path,
                        size=layer.size_bytes,
                        sha256=layer.sha256,
                        timeouts=timeouts,
                        on_progress=partial(_report, on_progress, layer),
                    )
            on_progress(layer.sha256, layer.size_bytes)

    layers = sorted(manifest.layers, key=lambda layer: -layer.size_bytes)
    large = [layer for layer in layers if layer.size_bytes > SEGMENT_BYTES]
    small = [[layer] for layer in layers[len(large) :]]
    tasks = [asyncio.create_task(fetch(group)) for group in (large, *small)]
    try:
        await asyncio.gather(*tasks)
    except DownloadFailed as error:
        if status_of(error) in AUTH_REQUIRED_STATUSES:
            return False
        raise
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return bool(manifest.layers)


def _report(
    on_progress: Callable[[str, int], None], layer: Layer, done: int, _total: int
) -> None:
    on_progress(layer.sha256, done)
