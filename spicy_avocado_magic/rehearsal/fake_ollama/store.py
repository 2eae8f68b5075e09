"""The stand-in engine's models folder, laid out as Ollama's is."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...config.model_name import ModelName
from ...errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """A model whose manifest is on disk."""

    name: ModelName
    digest: str
    """SHA-256 of the manifest, as hexadecimal digits."""
    size_bytes: int
    modified_s: int
    """Seconds since the epoch."""
    weights_path: Path

    @property
    def modified_at(self) -> str:
        """When its manifest was written, in the format of the API."""
        return rfc3339(self.modified_s)

    @property
    def details(self) -> dict[str, Any]:
        """The details in every listing; they are always those of the tiny model."""
        return {
            "parent_model": "",
            "format": "gguf",
            "family": "llama",
            "families": ["llama"],
            "parameter_size": "74.3K",
            "quantization_level": "F32",
        }


class Store:
    """Manifests and blobs under one folder, into which the product also writes."""

    def __init__(self, folder: Path) -> None:
        self._manifests = folder / "manifests"
        self._blobs = folder / "blobs"
        self._manifests.mkdir(parents=True, exist_ok=True)
        self._blobs.mkdir(exist_ok=True)

    def blob_path(self, digest: str) -> Path:
        """Return where the blob ``sha256:<hex>`` is or will be."""
        return self._blobs / digest.replace(":", "-")

    def all(self) -> Iterator[StoredModel]:
        """Yield each model, the newest first."""
        found = [path for path in self._manifests.glob("*/*/*/*") if path.is_file()]
        for path in sorted(found, key=lambda path: -path.stat().st_mtime):
            yield self._read(path)

    def find(self, text: str) -> StoredModel | None:
        """Return a model by any spelling of its name; None if it is not stored."""
        try:
            key = ModelName.parse(text).key
        except UsageError:
            return None
        return next((model for model in self.all() if model.name.key == key), None)

    def write(self, name: ModelName, manifest: bytes) -> None:
        """Write the manifest of a model whose blobs are in place."""
        path = self._manifest_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.parent.parent / f"{path.name}.{os.getpid()}"
        partial.write_bytes(manifest)
        partial.replace(path)

    def copy(self, model: StoredModel, name: ModelName) -> None:
        """Give a model a second name."""
        self.write(name, self._manifest_path(model.name).read_bytes())

    def delete(self, model: StoredModel) -> None:
        """Delete a model, and its blobs unless another model shares them."""
        path = self._manifest_path(model.name)
        digests = _digests(json.loads(path.read_bytes()))
        path.unlink()
        others = (self._manifest_path(other.name) for other in self.all())
        kept = [_digests(json.loads(other.read_bytes())) for other in others]
        for digest in digests.difference(*kept):
            self.blob_path(digest).unlink(missing_ok=True)

    def _manifest_path(self, name: ModelName) -> Path:
        return self._manifests / name.host / name.namespace / name.model / name.tag

    def _read(self, path: Path) -> StoredModel:
        host, namespace, model, tag = path.relative_to(self._manifests).parts
        content = path.read_bytes()
        manifest = json.loads(content)
        parts = [*manifest["layers"], manifest["config"]]
        weights = next(p for p in parts if p["mediaType"].endswith("image.model"))
        return StoredModel(
            name=ModelName(host=host, namespace=namespace, model=model, tag=tag),
            digest=hashlib.sha256(content).hexdigest(),
            size_bytes=sum(part["size"] for part in parts),
            modified_s=int(path.stat().st_mtime),
            weights_path=self.blob_path(weights["digest"]),
        )


def rfc3339(seconds: float) -> str:
    """Return seconds since the epoch in the format of the API."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _digests(manifest: dict[str, Any]) -> set[str]:
    return {part["digest"] for part in [*manifest["layers"], manifest["config"]]}
