"""Models without an engine: manifests read, blobs in their places."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from spicy_avocado_magic.engine.registry import (
    Layer,
    Manifest,
    blob_path,
    fetch_blobs,
    installed_manifest,
    read_manifest,
    source_of,
)
from spicy_avocado_magic.errors import (
    AvocadoError,
    DiskTooSmall,
    DownloadFailed,
    ModelRefused,
    NetworkUnreachable,
)
from spicy_avocado_magic.model_name import ModelName
from spicy_avocado_magic.policy import Policy

from .conftest import Serve

WEIGHTS, CONFIG = b"weights" * 10_000, b"{}"


def described(content: bytes) -> dict[str, object]:
    """Return a manifest's entry for a blob."""
    digest = hashlib.sha256(content).hexdigest()
    return {"digest": f"sha256:{digest}", "size": len(content)}


@dataclass(slots=True)
class Registry:
    """A registry with one model, which can be told what to answer."""

    manifest: str = json.dumps(
        {"layers": [described(WEIGHTS)] * 2, "config": described(CONFIG)}
    )
    manifest_status: int = 200
    blob_status: int = 200
    accepted: str = ""
    cuts: int = 0
    """How many times the large blob breaks off near its end; it knows no ranges."""
    is_read: asyncio.Event = field(default_factory=asyncio.Event)
    """When to break off."""
    fetched: list[str] = field(default_factory=list)

    def application(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        app.router.add_get("/v2/library/tiny/manifests/latest", self._give_manifest)
        app.router.add_get("/v2/library/tiny/blobs/{digest}", self._give_blob)
        return app

    async def _give_manifest(self, request: web.Request) -> web.Response:
        self.accepted = request.headers["Accept"]
        return web.Response(status=self.manifest_status, text=self.manifest)

    async def _give_blob(self, request: web.Request) -> web.StreamResponse:
        self.fetched.append(request.match_info["digest"])
        if self.blob_status != 200:
            return web.Response(status=self.blob_status)
        blobs = {described(blob)["digest"]: blob for blob in (WEIGHTS, CONFIG)}
        blob = blobs[self.fetched[-1]]
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
    return source_of(ModelName.parse("tiny"), base_url.removeprefix("http://"))


def test_names_without_a_host_are_pulled_from_the_wanted_registry() -> None:
    """Only the registry changes, and only where none was named."""
    source = source_of(ModelName.parse("tiny:1b"), "127.0.0.1:5000")
    assert source.short == "127.0.0.1:5000/library/tiny:1b"
    other = ModelName.parse("hf.co/user/repo:Q4")
    assert source_of(other, "127.0.0.1:5000") == other
    assert source_of(ModelName.parse("tiny"), "") == ModelName.parse("tiny")


async def test_a_manifest_tells_each_blob_once(policy: Policy, serve: Serve) -> None:
    """Layers and config are listed with their sizes."""
    registry = Registry()
    manifest = await read_manifest(
        named(await serve(registry.application())), policy=policy
    )
    assert manifest.size_bytes == len(WEIGHTS) + len(CONFIG)
    assert len(manifest.layers) == 2
    assert "docker.distribution.manifest.v2" in registry.accepted


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (404, ModelRefused, "library/tiny:latest"),
        (412, ModelRefused, "newer Ollama"),
        (429, DownloadFailed, "429"),
        (500, DownloadFailed, "HTTP 500"),
    ],
)
async def test_refusals_are_told_apart(
    policy: Policy, serve: Serve, status: int, kind: type[AvocadoError], text: str
) -> None:
    """Each status has its own message and remedy."""
    url = await serve(Registry(manifest_status=status).application())
    with pytest.raises(kind, match=text):
        await read_manifest(named(url), policy=policy)


async def test_an_unknown_model_of_the_library_points_to_it(policy: Policy) -> None:
    """The remedy says where names are listed."""
    from spicy_avocado_magic.engine.refusals import unknown_model

    error = unknown_model(ModelName.parse("lama3"))
    assert "lama3:latest" in error.problem
    assert "ollama.com/library" in error.remedy


async def test_no_registry_is_no_network(policy: Policy, unused_tcp_port: int) -> None:
    """A refused connection is told as such."""
    with pytest.raises(NetworkUnreachable):
        await read_manifest(named(f"http://127.0.0.1:{unused_tcp_port}"), policy=policy)


@pytest.mark.parametrize(
    "registry",
    [
        Registry(manifest_status=401),
        Registry(manifest_status=403),
        Registry(manifest="<html>"),
        Registry(manifest='{"manifests": []}'),
        Registry(
            manifest=json.dumps(
                {"layers": [], "config": {"digest": "sha256:../../evil", "size": 1}}
            )
        ),
    ],
    ids=["401", "403", "not JSON", "another form", "evil digest"],
)
async def test_what_we_may_not_read_is_left_to_the_engine(
    policy: Policy, serve: Serve, tmp_path: Path, registry: Registry
) -> None:
    """Such a manifest has no layers, and fetching its blobs is no work."""
    source = named(await serve(registry.application()))
    manifest = await read_manifest(source, policy=policy)
    assert manifest == Manifest(model=source)
    fetched = await fetch_blobs(
        manifest, tmp_path, policy=policy, on_progress=lambda _done, _total: None
    )
    assert not fetched
    assert registry.fetched == []


@dataclass(slots=True)
class Fetching:
    """A call of ``fetch_blobs`` and what was told of its progress."""

    models_dir: Path
    policy: Policy
    progress: list[tuple[int, int]] = field(default_factory=list)
    watcher: Callable[[int], None] = lambda _done: None

    async def run(self, base_url: str) -> bool:
        """Fetch the one model's blobs."""
        source = named(base_url)
        layers = tuple(
            Layer(sha256=hashlib.sha256(blob).hexdigest(), size_bytes=len(blob))
            for blob in (CONFIG, WEIGHTS)
        )
        return await fetch_blobs(
            Manifest(model=source, layers=layers),
            self.models_dir,
            policy=self.policy,
            on_progress=self._note,
        )

    def _note(self, done: int, total: int) -> None:
        self.progress.append((done, total))
        self.watcher(done)


@pytest.fixture
def fetching(tmp_path: Path, policy: Policy) -> Fetching:
    """Return a fetch into an empty folder."""
    return Fetching(tmp_path, policy)


async def test_blobs_are_named_as_the_engine_wants_them(
    fetching: Fetching, serve: Serve
) -> None:
    """Whole blobs lie under their digests; progress goes up to the total."""
    assert await fetching.run(await serve(Registry().application()))
    blobs = {path.name: path.read_bytes() for path in fetching.models_dir.rglob("*-*")}
    assert blobs == {
        f"sha256-{hashlib.sha256(blob).hexdigest()}": blob for blob in (WEIGHTS, CONFIG)
    }
    done = [done for done, _ in fetching.progress]
    total = len(WEIGHTS) + len(CONFIG)
    assert done == sorted(done), "progress ran backwards"
    assert fetching.progress[-1] == (total, total)


async def test_progress_never_runs_backwards_when_a_blob_starts_over(
    fetching: Fetching, serve: Serve
) -> None:
    """A registry without ranges costs bytes, but not the users' trust."""
    registry = Registry(cuts=1)
    fetching.watcher = lambda done: registry.is_read.set() if done > 50_000 else None
    assert await fetching.run(await serve(registry.application()))
    assert len(registry.fetched) == 3, "nothing was cut"
    done = [done for done, _ in fetching.progress]
    assert done == sorted(done), "progress ran backwards"


async def test_blobs_that_are_there_are_not_fetched(
    fetching: Fetching, serve: Serve
) -> None:
    """The second time costs no request, and still counts as progress."""
    registry = Registry()
    url = await serve(registry.application())
    await fetching.run(url)
    fetched = len(registry.fetched)
    assert await fetching.run(url)
    assert len(registry.fetched) == fetched


async def test_one_digest_is_fetched_once_at_a_time(
    fetching: Fetching, serve: Serve
) -> None:
    """Two models that share a layer share its download."""
    registry = Registry()
    url = await serve(registry.application())
    assert all(await asyncio.gather(fetching.run(url), fetching.run(url)))
    assert len(registry.fetched) == 2, "a layer was fetched twice"


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_blobs_are_left_to_the_engine(
    fetching: Fetching, serve: Serve, status: int
) -> None:
    """The engine has a key that may open what we may not."""
    url = await serve(Registry(blob_status=status).application())
    assert not await fetching.run(url)


async def test_other_refusals_are_errors(fetching: Fetching, serve: Serve) -> None:
    """A missing blob is told."""
    url = await serve(Registry(blob_status=404).application())
    with pytest.raises(DownloadFailed, match="HTTP 404"):
        await fetching.run(url)


async def test_a_model_that_does_not_fit_is_told_before_it_is_fetched(
    fetching: Fetching, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is asked for all layers together."""
    usage = shutil.disk_usage("/")._replace(free=len(WEIGHTS))
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    registry = Registry()
    with pytest.raises(DiskTooSmall):
        await fetching.run(await serve(registry.application()))
    assert registry.fetched == []


def test_a_model_on_disk_is_found_without_network(tmp_path: Path) -> None:
    """Manifest and all blobs together make a model; one missing blob does not."""
    model = ModelName.parse("tiny")
    path = tmp_path / "manifests/registry.ollama.ai/library/tiny/latest"
    path.parent.mkdir(parents=True)
    path.write_text(Registry().manifest)
    (tmp_path / "blobs").mkdir()
    assert installed_manifest(model, tmp_path) is None
    place: Callable[[bytes], Path] = lambda blob: blob_path(  # noqa: E731
        Layer(sha256=hashlib.sha256(blob).hexdigest(), size_bytes=0), tmp_path
    )
    place(WEIGHTS).write_bytes(WEIGHTS)
    place(CONFIG).write_bytes(CONFIG)
    found = installed_manifest(model, tmp_path)
    assert found is not None
    assert found.size_bytes == len(WEIGHTS) + len(CONFIG)
    place(WEIGHTS).write_bytes(WEIGHTS[:-1])
    assert installed_manifest(model, tmp_path) is None, "a short blob was accepted"
