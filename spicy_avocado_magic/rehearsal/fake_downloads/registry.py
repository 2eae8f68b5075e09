"""A stand-in for registry.ollama.ai that serves the tiny model under every name.

The protocol is Docker's with Ollama's media types (``server/images.go`` and
``manifest/`` in github.com/ollama/ollama). Names that begin with
``missing``, ``gated`` or ``newer`` fail, so that these errors can be rehearsed.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

from aiohttp import web

from .ranges import serve_bytes
from .tiny_gguf import tiny_gguf

_MEDIA: Final = "application/vnd.ollama.image"
_MANIFEST_MEDIA: Final = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG_MEDIA: Final = "application/vnd.docker.container.image.v1+json"
_TEMPLATE: Final = b"{{ if .System }}{{ .System }} {{ end }}{{ .Prompt }} "
# The tiny model never generates an end token.
_PARAMETERS: Final = b'{"num_predict":64}'
_NEWER: Final = (
    "\nThe model you are attempting to pull requires a newer version of Ollama.\n\n"
    "Please download the latest version at:\n\n\thttps://ollama.com/download\n\n"
)
"""The real registry's message (github.com/ollama/ollama/issues/14876)."""


def create_registry(weights: bytes | None = None) -> web.Application:
    """Return the registry; ``weights`` replaces the tiny model's file."""
    return _Registry(tiny_gguf() if weights is None else weights).application()


class _Registry:
    def __init__(self, weights: bytes) -> None:
        layers = {
            f"{_MEDIA}.model": weights,
            f"{_MEDIA}.template": _TEMPLATE,
            f"{_MEDIA}.params": _PARAMETERS,
        }
        described = [_described(media, content) for media, content in layers.items()]
        config = _config([str(layer["digest"]) for layer in described])
        self._manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST_MEDIA,
                "config": _described(_CONFIG_MEDIA, config),
                "layers": described,
            }
        ).encode()
        self._blobs = {_digest(blob): blob for blob in (*layers.values(), config)}

    def application(self) -> web.Application:
        app = web.Application()
        name = "/v2/{namespace}/{model}"
        app.router.add_get("/v2/", self._root)
        app.router.add_get("/token", self._token)
        app.router.add_get(f"{name}/manifests/{{tag}}", self._serve_manifest)
        app.router.add_get(f"{name}/blobs/{{digest}}", self._serve_blob)
        return app

    async def _root(self, _request: web.Request) -> web.Response:
        return web.json_response({})

    async def _token(self, _request: web.Request) -> web.Response:
        """Answer the engine's request for a token after a 401; the token is useless."""
        return web.json_response({"token": "rehearsal"})

    async def _serve_manifest(self, request: web.Request) -> web.StreamResponse:
        error = _error_for(request)
        if error is not None:
            return error
        return await serve_bytes(
            request,
            self._manifest,
            etag=_digest(self._manifest),
            headers={
                "Content-Type": _MANIFEST_MEDIA,
                "Docker-Content-Digest": _digest(self._manifest),
            },
        )

    async def _serve_blob(self, request: web.Request) -> web.StreamResponse:
        digest = request.match_info["digest"]
        if digest not in self._blobs:
            return _error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        # The engine reads Location even from a 200 (resp.Location, server/download.go).
        headers = {"Docker-Content-Digest": digest, "Location": str(request.rel_url)}
        blob = self._blobs[digest]
        return await serve_bytes(request, blob, etag=digest, headers=headers)


def _error_for(request: web.Request) -> web.Response | None:
    namespace, model = request.match_info["namespace"], request.match_info["model"]
    if model.startswith("missing"):
        return _error(404, "MANIFEST_UNKNOWN", "manifest unknown")
    if model.startswith("gated"):
        error = _error(401, "UNAUTHORIZED", "authentication required")
        error.headers["WWW-Authenticate"] = (
            f'Bearer realm="http://{request.host}/token",service="{request.host}",'
            f'scope="repository:{namespace}/{model}:pull"'
        )
        return error
    if model.startswith("newer"):
        return web.Response(status=412, text=_NEWER)
    return None


def _error(status: int, code: str, message: str) -> web.Response:
    errors = [{"code": code, "message": message, "detail": None}]
    return web.json_response({"errors": errors}, status=status)


def _config(digests: list[str]) -> bytes:
    return json.dumps(
        {
            "model_format": "gguf",
            "model_family": "llama",
            "model_families": ["llama"],
            "model_type": "74.3K",
            "file_type": "F32",
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": digests},
        }
    ).encode()


def _described(media: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
