"""A registry with one model and configured answers."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field

from aiohttp import web

from spicy_avocado_magic.config.model_name import ModelName
from spicy_avocado_magic.engine.registry import Layer, resolve_source

WEIGHTS, CONFIG = b"weights" * 10_000, b"{}"


def described(content: bytes) -> dict[str, object]:
    """Return a manifest's entry for a blob."""
    digest = hashlib.sha256(content).hexdigest()
    kind = "model" if content is WEIGHTS else "params"
    return {
        "mediaType": f"application/vnd.ollama.image.{kind}",
        "digest": f"sha256:{digest}",
        "size": len(content),
    }


def layer_of(content: bytes) -> Layer:
    """Return a blob as in a manifest."""
    return Layer(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


@dataclass(slots=True)
class Registry:
    """A registry with one model and configured answers."""

    manifest: str = json.dumps(
        {"layers": [described(WEIGHTS)] * 2, "config": described(CONFIG)}
    )
    manifest_status: int = 200
    manifest_statuses: list[int] = field(default_factory=list)
    """Answers before that one, one for each request."""
    manifest_cuts: int = 0
    """How many connections end without an answer."""
    blob_status: int = 200
    missing: str = ""
    """A digest that is answered with 404."""
    accepted: str = ""
    cuts: int = 0
    """How many times the large blob breaks off near its end; it knows no ranges."""
    is_read: asyncio.Event = field(default_factory=asyncio.Event)
    """When to break off."""
    fetched: list[str] = field(default_factory=list)
    together: asyncio.Barrier = field(default_factory=lambda: asyncio.Barrier(1))
    """Requests for a blob wait until this many have arrived."""

    def application(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        app.router.add_get("/v2/library/tiny/manifests/latest", self._give_manifest)
        app.router.add_get("/v2/library/tiny/blobs/{digest}", self._give_blob)
        return app

    async def _give_manifest(self, request: web.Request) -> web.Response:
        self.accepted = request.headers["Accept"]
        if self.manifest_cuts:
            self.manifest_cuts -= 1
            assert request.transport is not None
            request.transport.close()
        if self.manifest_statuses:
            return web.Response(status=self.manifest_statuses.pop(0))
        return web.Response(status=self.manifest_status, text=self.manifest)

    async def _give_blob(self, request: web.Request) -> web.StreamResponse:
        digest = request.match_info["digest"]
        self.fetched.append(digest)
        await self.together.wait()
        if self.blob_status != 200:
            return web.Response(status=self.blob_status)
        if digest == self.missing:
            return web.Response(status=404)
        blobs = {described(blob)["digest"]: blob for blob in (WEIGHTS, CONFIG)}
        blob = blobs[digest]
        if not self.cuts or len(blob) < 1000:
            return web.Response(body=blob)
        self.cuts -= 1
        response = web.StreamResponse()
        response.content_length = len(blob)
        await response.prepare(request)
        await response.write(blob[:-1000])
        await self.is_read.wait()
        assert request.transport is not None
        request.transport.close()
        return response


def named(base_url: str) -> ModelName:
    """Return the one model's name at a registry."""
    return resolve_source(ModelName.parse("tiny"), base_url.removeprefix("http://"))
