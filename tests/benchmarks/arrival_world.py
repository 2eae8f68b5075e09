"""The world behind one throttled link: release host, registry, content host, edge.

Run as a module it serves until its input ends: ``python -m … ARCHIVE MODEL FOLDER``.
Each line of input is a ``throttle.Shape`` in JSON, answered by a line once the link
has it, with what went through the link before.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from spicy_avocado_magic.config.settings import Endpoints
from spicy_avocado_magic.protocol.json_codec import from_json, to_json
from spicy_avocado_magic.rehearsal.fake_downloads.ranges import serve_bytes
from spicy_avocado_magic.rehearsal.fake_downloads.releases import RELEASES_PATH
from spicy_avocado_magic.rehearsal.fake_ngrok.agent import write_agent_script
from spicy_avocado_magic.rehearsal.fake_ngrok.edge import FakeNgrok

from .throttle import Link, Shape, serve_through

MODEL: Final = "arrival"

_MEDIA: Final = "application/vnd.ollama.image"
_MANIFEST_MEDIA: Final = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG_MEDIA: Final = "application/vnd.docker.container.image.v1+json"


class World:
    """Hosts that all send through ``link``, which may be replaced between runs."""

    def __init__(self, archive: Path, weights: bytes) -> None:
        self.link = Link(Shape())
        self._archive_name = archive.name
        archive_bytes = archive.read_bytes()
        self._archive_sum = hashlib.sha256(archive_bytes).hexdigest()
        layers = {
            f"{_MEDIA}.model": weights,
            f"{_MEDIA}.template": b"{{ .Prompt }}",
            f"{_MEDIA}.params": b'{"num_predict":64}',
        }
        described = [_described(media, content) for media, content in layers.items()]
        config = _config([str(layer["digest"]) for layer in described])
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST_MEDIA,
            "config": _described(_CONFIG_MEDIA, config),
            "layers": described,
        }
        self._manifest = json.dumps(manifest).encode()
        self._contents = {self._archive_sum: archive_bytes}
        for content in (*layers.values(), config):
            self._contents[hashlib.sha256(content).hexdigest()] = content
        self._content_port = 0
        self._runners: list[web.AppRunner] = []
        self.weights_path = (
            f"/v2/library/{MODEL}/blobs/sha256:{hashlib.sha256(weights).hexdigest()}"
        )

    @property
    def needed_bytes(self) -> int:
        """What must come: the archive and every layer, each once."""
        return sum(map(len, self._contents.values()))

    async def start(self) -> tuple[str, str]:
        """Open the hosts; return the URL of the releases and the registry's name."""
        self._content_port = await self._open(
            web.get("/content/{digest}", self._give_content)
        )
        download = f"{RELEASES_PATH}/download/v{{version}}"
        releases = await self._open(
            web.get(f"{download}/sha256sum.txt", self._give_sums),
            web.get(f"{download}/{self._archive_name}", self._lead_to_archive),
        )
        registry = await self._open(
            web.get("/v2/library/{model}/manifests/{tag}", self._give_manifest),
            web.get("/v2/library/{model}/blobs/sha256:{digest}", self._lead_to_blob),
        )
        return f"http://127.0.0.1:{releases}{RELEASES_PATH}", f"127.0.0.1:{registry}"

    async def close(self) -> None:
        """Close the hosts."""
        for runner in self._runners:
            await runner.cleanup()

    async def _open(self, *routes: web.RouteDef) -> int:
        app = web.Application()
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    async def _give_sums(self, request: web.Request) -> web.StreamResponse:
        line = f"{self._archive_sum}  ./{self._archive_name}\n".encode()
        return await serve_bytes(request, line, etag="sums")

    async def _give_manifest(self, request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": _MANIFEST_MEDIA}
        return await serve_bytes(
            request, self._manifest, etag="manifest", headers=headers
        )

    async def _lead_to_archive(self, _request: web.Request) -> web.Response:
        raise web.HTTPFound(self._place(self._archive_sum))

    async def _lead_to_blob(self, request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(self._place(request.match_info["digest"]))

    def _place(self, digest: str) -> str:
        # Another host name, as content networks have: the engine insists on one.
        return f"http://localhost:{self._content_port}/content/{digest}"

    async def _give_content(self, request: web.Request) -> web.StreamResponse:
        digest = request.match_info["digest"]
        if digest not in self._contents:
            raise web.HTTPNotFound
        return await serve_through(self.link, request, self._contents[digest], digest)


def _described(media: str, content: bytes) -> dict[str, object]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return {"mediaType": media, "digest": digest, "size": len(content)}


def _config(digests: list[str]) -> bytes:
    return json.dumps(
        {
            "model_format": "gguf",
            "model_family": "llama",
            "model_families": ["llama"],
            "model_type": "100M",
            "file_type": "F32",
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": digests},
        }
    ).encode()


def _say(json_value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(json_value) + "\n")
    sys.stdout.flush()


async def main(archive: Path, model: Path, folder: Path) -> None:
    """Serve, and reshape the link at each line of input, until the input ends."""
    world = World(archive, await asyncio.to_thread(model.read_bytes))
    releases_url, registry = await world.start()
    edge = FakeNgrok()
    edge_address = await edge.start()
    sources = Endpoints(
        releases_url=releases_url,
        registry=registry,
        tunnel_program=str(write_agent_script(folder / "ngrok")),
        edge_address=edge_address,
    )
    _say(
        {
            "sources": to_json(sources),
            "needed_bytes": world.needed_bytes,
            "weights": f"http://{registry}{world.weights_path}",
        }
    )
    while line := await asyncio.to_thread(sys.stdin.readline):
        before, world.link = world.link, Link(from_json(Shape, json.loads(line)))
        _say({"sent_bytes": before.sent_bytes, "cuts": before.cuts})
    await edge.close()
    await world.close()


if __name__ == "__main__":
    asyncio.run(main(*map(Path, sys.argv[1:4])))
