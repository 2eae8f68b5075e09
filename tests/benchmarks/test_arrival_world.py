"""The world speaks as the release host and the registry do."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from .arrival_world import MODEL, World
from .throttle import Link, Shape


async def test_everything_needed_comes_through_the_link(tmp_path: Path) -> None:
    """By sums and manifest, redirected to another host name, once each, and counted."""
    archive = tmp_path / "ollama-linux-amd64.tar.zst"
    archive.write_bytes(b"archive" * 1000)
    world = World(archive, b"weights" * 1000)
    releases, registry = await world.start()
    link = world.link = Link(Shape())
    model = f"http://{registry}/v2/library/{MODEL}"
    async with aiohttp.ClientSession() as session:

        async def get(url: str) -> bytes:
            async with session.get(url) as response:
                assert response.status == 200, url
                return await response.read()

        download = f"{releases}/download/v0.34.1"
        sums = (await get(f"{download}/sha256sum.txt")).decode()
        manifest = json.loads(await get(f"{model}/manifests/latest"))
        assert link.sent_bytes == 0, "what is small must not wait for the link"
        got = await get(f"{download}/{archive.name}")
        assert sums == f"{hashlib.sha256(got).hexdigest()}  ./{archive.name}\n"
        for layer in (*manifest["layers"], manifest["config"]):
            url = f"{model}/blobs/{layer['digest']}"
            blob = await get(url)
            assert f"sha256:{hashlib.sha256(blob).hexdigest()}" == layer["digest"]
            assert len(blob) == layer["size"]
            async with session.head(url, allow_redirects=False) as response:
                assert response.status == 307
                place = urlsplit(response.headers["Location"])
                # The engine takes the content for the registry's otherwise.
                assert place.hostname != urlsplit(url).hostname
    assert link.sent_bytes == world.needed_bytes
    await world.close()
