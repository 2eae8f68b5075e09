"""A stand-in for github.com/ollama/ollama/releases: archives and their checksums."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sys
from pathlib import Path
from typing import Final

from aiohttp import web

from ...config.validators import OLLAMA_VERSION
from .archive import build_archive
from .ranges import serve_bytes

RELEASES_PATH: Final = "/ollama/ollama/releases"
"""The path of the releases under ``http://HOST:PORT``."""

_OLDEST: Final = (0, 11, 4)
_ZSTANDARD_SINCE: Final = (0, 14, 0)
_BEYOND: Final = (1, 0, 0)
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")


def create_releases(
    *, latest: str = OLLAMA_VERSION, engine_tree: Path | None = None
) -> web.Application:
    """Return the release host.

    Args:
        latest: The version to which ``/releases/latest`` redirects.
        engine_tree: A folder with ``bin`` and ``lib`` of a real Ollama for this
            platform, packed instead of the stand-in and served as any version.
    """
    return _Releases(latest, engine_tree).application()


def asset_names(version: str) -> list[str]:
    """Return the archive names of a version; empty for an unknown release.

    Linux archives are ``.tar.zst`` since 0.14.0, before that ``.tgz``.
    """
    match = _VERSION.fullmatch(version)
    numbers = tuple(map(int, match.groups())) if match else _BEYOND
    if not _OLDEST <= numbers < _BEYOND:
        return []
    ending = "tar.zst" if numbers >= _ZSTANDARD_SINCE else "tgz"
    linux = [f"ollama-linux-{machine}.{ending}" for machine in ("amd64", "arm64")]
    return ["ollama-darwin.tgz", *linux]


class _Releases:
    def __init__(self, latest: str, engine_tree: Path | None) -> None:
        self._latest = latest
        self._engine_tree = engine_tree
        self._built: dict[tuple[str, str], tuple[bytes, str]] = {}
        self._building = asyncio.Lock()

    def application(self) -> web.Application:
        app = web.Application()
        asset = "v{version}/{asset}"
        add = app.router.add_get
        add(f"{RELEASES_PATH}/latest", self._redirect_to_latest)
        add(f"{RELEASES_PATH}/tag/v{{version}}", self._show_release)
        add(f"{RELEASES_PATH}/download/{asset}", self._redirect_to_asset)
        add(f"/release-assets/{asset}", self._serve_asset)
        return app

    async def _redirect_to_latest(self, _request: web.Request) -> web.Response:
        raise web.HTTPFound(f"{RELEASES_PATH}/tag/v{self._latest}")

    async def _show_release(self, request: web.Request) -> web.Response:
        version = request.match_info["version"]
        if not asset_names(version):
            raise web.HTTPNotFound
        return web.Response(text=f"Release v{version} (rehearsal)")

    async def _redirect_to_asset(self, request: web.Request) -> web.Response:
        """Redirect to the download host, as GitHub does."""
        version, asset = request.match_info["version"], request.match_info["asset"]
        offered = self._offered(version)
        if not offered or asset not in {"sha256sum.txt", *offered}:
            raise web.HTTPNotFound
        raise web.HTTPFound(f"/release-assets/v{version}/{asset}")

    async def _serve_asset(self, request: web.Request) -> web.StreamResponse:
        version, asset = request.match_info["version"], request.match_info["asset"]
        offered = self._offered(version)
        if asset == "sha256sum.txt" and offered:
            sums = [(await self._asset(version, name))[1] for name in offered]
            lines = [
                f"{hexed}  ./{name}\n"
                for hexed, name in zip(sums, offered, strict=True)
            ]
            listing = "".join(lines).encode()
            etag = hashlib.sha256(listing).hexdigest()
            return await serve_bytes(request, listing, etag=etag)
        if asset not in offered:
            raise web.HTTPNotFound
        content, etag = await self._asset(version, asset)
        return await serve_bytes(request, content, etag=etag)

    def _offered(self, version: str) -> list[str]:
        names = asset_names(version)
        if self._engine_tree is None:
            return names
        return [name for name in names if sys.platform in name]

    async def _asset(self, version: str, name: str) -> tuple[bytes, str]:
        """Return an archive and its sha256, built at the first request."""
        async with self._building:
            if (version, name) not in self._built:
                self._built[version, name] = await asyncio.to_thread(
                    _build, version, name, self._engine_tree
                )
            return self._built[version, name]


def _build(version: str, name: str, engine_tree: Path | None) -> tuple[bytes, str]:
    content = build_archive(version, name, engine_tree)
    return content, hashlib.sha256(content).hexdigest()
