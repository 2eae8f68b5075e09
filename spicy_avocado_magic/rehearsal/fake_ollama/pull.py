"""The stand-in engine's ``/api/pull``, by the registry protocol."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp

from ...config.model_name import ModelName
from .store import Store

_CHUNK_BYTES: Final = 1024 * 1024
_MANIFEST_MEDIA: Final = "application/vnd.docker.distribution.manifest.v2+json"


class PullFailed(Exception):
    """A failed pull, in the words of ``server/images.go`` in ollama/ollama."""


async def pull(
    store: Store, name: ModelName, *, insecure: bool
) -> AsyncIterator[dict[str, Any]]:
    """Download missing blobs, then write the manifest; yield each progress line.

    Blobs that exist are used without a check, as Ollama does.

    Raises:
        PullFailed: With the error message for the engine's client.
    """
    yield {"status": "pulling manifest"}
    if not (name.is_insecure and insecure):
        # A rehearsal has a loopback registry and uses no other.
        url = f"https://{name.registry_url.partition('://')[2]}/manifests/{name.tag}"
        raise PullFailed(
            f'pull model manifest: Get "{url}": this rehearsal engine reaches only '
            "loopback registries, with insecure"
        )
    try:
        async with aiohttp.ClientSession() as session:
            content = await _manifest(session, name)
            manifest = json.loads(content)
            parts = [*manifest["layers"], manifest["config"]]
            for part in parts:
                async for line in _fetch(session, store, name, part):
                    yield line
    except (aiohttp.ClientError, OSError) as error:
        raise PullFailed(f"pull model manifest: {error}") from error
    yield {"status": "verifying sha256 digest"}
    yield {"status": "writing manifest"}
    try:
        store.write(name, content)
    except OSError as error:
        raise PullFailed(f"open {error.filename}: {error.strerror}") from error
    yield {"status": "success"}


async def _manifest(session: aiohttp.ClientSession, name: ModelName) -> bytes:
    url = f"{name.registry_url}/manifests/{name.tag}"
    async with session.get(url, headers={"Accept": _MANIFEST_MEDIA}) as response:
        content = await response.read()
        if response.status == 404:  # noqa: PLR2004
            raise PullFailed("pull model manifest: file does not exist")
        if response.status == 401:  # noqa: PLR2004
            raise PullFailed("pull model manifest: unauthorized: access denied")
        if response.status >= 400:  # noqa: PLR2004
            text = content.decode(errors="replace")
            raise PullFailed(f"pull model manifest: {response.status}: {text}")
        return content


async def _fetch(
    session: aiohttp.ClientSession, store: Store, name: ModelName, part: dict[str, Any]
) -> AsyncIterator[dict[str, Any]]:
    digest, total = part["digest"], part["size"]
    path = store.blob_path(digest)
    progress = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": total}
    if path.exists():
        yield progress | {"completed": path.stat().st_size}
        return
    yield progress
    partial = path.with_name(f"{path.name}-partial")
    hashed, completed = hashlib.sha256(), 0
    async with session.get(f"{name.registry_url}/blobs/{digest}") as response:
        response.raise_for_status()
        with partial.open("wb") as file:
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                file.write(chunk)
                hashed.update(chunk)
                completed += len(chunk)
                yield progress | {"completed": completed}
    got = f"sha256:{hashed.hexdigest()}"
    if got != digest:
        partial.unlink()
        raise PullFailed(
            f"digest mismatch, file must be downloaded again: want {digest}, got {got}"
        )
    partial.replace(path)
