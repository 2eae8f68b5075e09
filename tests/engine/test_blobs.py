"""Blobs in their places, before there is an engine."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from spicy_avocado_magic.config.model_name import ModelName
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.engine import blobs
from spicy_avocado_magic.engine.blobs import (
    downloaded_bytes,
    fetch_blobs,
    read_model_architecture,
    require_disk_space,
)
from spicy_avocado_magic.engine.progress import DownloadProgress
from spicy_avocado_magic.engine.registry import Layer, Manifest, blob_path
from spicy_avocado_magic.errors import DiskTooSmall, DownloadFailed, UsageError
from spicy_avocado_magic.rehearsal.fake_downloads.registry import create_registry

from .conftest import Serve
from .registry_host import CONFIG, WEIGHTS, Registry, layer_of, named

LAYERS = (layer_of(CONFIG), layer_of(WEIGHTS))
TOTAL = len(WEIGHTS) + len(CONFIG)


@dataclass(slots=True)
class Fetching:
    """A call of ``fetch_blobs`` and its reported progress."""

    models_dir: Path
    timeouts: Timeouts
    tally: DownloadProgress = field(default_factory=DownloadProgress)
    progress: list[int] = field(default_factory=list)
    watcher: Callable[[int], None] = lambda _done: None

    async def run(self, base_url: str) -> bool:
        """Fetch the one model's blobs."""
        for layer in LAYERS:
            self.tally.expect(layer.sha256, layer.size_bytes)
        return await fetch_blobs(
            Manifest(model=named(base_url), layers=LAYERS),
            self.models_dir,
            timeouts=self.timeouts,
            on_progress=self._note,
        )

    def _note(self, digest: str, done: int) -> None:
        self.tally.record(digest, done)
        self.progress.append(self.tally.done_bytes)
        self.watcher(done)


@pytest.fixture
def fetching(tmp_path: Path, timeouts: Timeouts) -> Fetching:
    """Return a fetch into an empty folder."""
    return Fetching(tmp_path, timeouts)


async def test_blobs_are_named_as_the_engine_expects(
    fetching: Fetching, serve: Serve
) -> None:
    """Complete blobs are named after their digests; progress reaches the total."""
    assert await fetching.run(await serve(Registry().application()))
    found = {path.name: path.read_bytes() for path in fetching.models_dir.rglob("*-*")}
    assert found == {
        f"sha256-{hashlib.sha256(blob).hexdigest()}": blob for blob in (WEIGHTS, CONFIG)
    }
    assert fetching.progress == sorted(fetching.progress), "progress ran backwards"
    assert fetching.progress[-1] == TOTAL, "the progress does not end at the total"


async def test_progress_never_runs_backwards_when_a_blob_starts_over(
    fetching: Fetching, serve: Serve
) -> None:
    """A registry without ranges costs bytes, but the progress shown stays."""
    registry = Registry(cuts=1)
    fetching.watcher = lambda done: registry.is_read.set() if done > 50_000 else None
    assert await fetching.run(await serve(registry.application()))
    assert len(registry.fetched) == 3, "nothing was cut"
    assert fetching.progress == sorted(fetching.progress), "progress ran backwards"


async def test_blobs_on_disk_are_not_downloaded(
    fetching: Fetching, serve: Serve
) -> None:
    """No request is made, and the bytes count as progress."""
    registry = Registry()
    url = await serve(registry.application())
    await fetching.run(url)
    fetched = len(registry.fetched)
    assert await fetching.run(url)
    assert len(registry.fetched) == fetched


async def test_a_blob_that_is_cut_short_on_disk_is_downloaded_again(
    fetching: Fetching, serve: Serve
) -> None:
    """A drive may have been unmounted meanwhile; the engine does not check sizes."""
    path = blob_path(layer_of(WEIGHTS), fetching.models_dir)
    path.parent.mkdir()
    path.write_bytes(WEIGHTS[:100])
    assert downloaded_bytes(layer_of(WEIGHTS), fetching.models_dir) == 0
    assert await fetching.run(await serve(Registry().application()))
    assert path.read_bytes() == WEIGHTS


async def test_small_blobs_come_beside_the_large_one(
    fetching: Fetching, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for the server, not for bytes: one after the other costs seconds."""
    monkeypatch.setattr(blobs, "SEGMENT_BYTES", len(CONFIG))
    registry = Registry(together=asyncio.Barrier(2))
    url = await serve(registry.application())
    assert await fetching.run(url)
    assert len(set(registry.fetched[:2])) == 2, "the second waits for the first"


async def test_a_blob_that_fails_cancels_the_others(
    fetching: Fetching, serve: Serve
) -> None:
    """Nothing is still downloading after the error."""
    missing = f"sha256:{layer_of(CONFIG).sha256}"
    registry = Registry(missing=missing, cuts=1)
    url = await serve(registry.application())
    before = asyncio.all_tasks()
    with pytest.raises(DownloadFailed, match="HTTP 404"):
        await fetching.run(url)
    left = [task for task in asyncio.all_tasks() - before if "bring" in repr(task)]
    registry.is_read.set()
    assert not left, "the other blob is still being fetched"


async def test_large_blobs_come_one_after_the_other_the_largest_first(
    fetching: Fetching, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a window in memory, and most of the time is in the largest."""
    monkeypatch.setattr(blobs, "SEGMENT_BYTES", 0)
    registry = Registry(together=asyncio.Barrier(2))
    url = await serve(registry.application())
    running = asyncio.create_task(fetching.run(url))
    await registry.together.wait()
    largest = f"sha256:{layer_of(WEIGHTS).sha256}"
    assert registry.fetched == [largest], "it is not the largest that comes first"
    await registry.together.wait()
    first = blob_path(layer_of(WEIGHTS), fetching.models_dir)
    assert first.exists(), "the second was asked for before the first was whole"
    assert await running


async def test_a_digest_is_downloaded_only_once_at_a_time(
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
    """The engine's key may give access that we lack."""
    url = await serve(Registry(blob_status=status).application())
    assert not await fetching.run(url)


async def test_other_refusals_are_errors(fetching: Fetching, serve: Serve) -> None:
    """A missing blob is an error."""
    url = await serve(Registry(blob_status=404).application())
    with pytest.raises(DownloadFailed, match="HTTP 404"):
        await fetching.run(url)


def test_models_that_do_not_fit_together_are_refused_before_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All layers of all models count; the message names the folder."""
    usage = shutil.disk_usage("/")
    first, second, third = (
        Manifest(model=ModelName.parse(name), layers=layers)
        for name, layers in (
            ("one", (Layer(sha256="a" * 64, size_bytes=600),)),
            ("two", (Layer(sha256="b" * 64, size_bytes=500),)),
            ("same", (Layer(sha256="a" * 64, size_bytes=600),)),
        )
    )
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    require_disk_space([first], tmp_path)
    require_disk_space([first, third], tmp_path)
    with pytest.raises(DiskTooSmall, match=str(tmp_path)):
        require_disk_space([first, second], tmp_path)


def test_bytes_on_disk_need_no_further_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blobs and partial files count, holes in a partial file do not."""
    layer = layer_of(WEIGHTS)
    path = blob_path(layer, tmp_path)
    path.parent.mkdir()
    part = path.with_name(path.name + ".part")
    part.write_bytes(WEIGHTS[:8192])
    assert downloaded_bytes(layer, tmp_path) == 8192
    with part.open("r+b") as file:
        file.truncate(len(WEIGHTS))
    assert downloaded_bytes(layer, tmp_path) <= 16384, "a hole counts as bytes"
    path.write_bytes(WEIGHTS)
    usage = shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    require_disk_space(
        [Manifest(model=ModelName.parse("x"), layers=(layer,))], tmp_path
    )


def test_a_models_folder_that_is_not_writable_is_refused(tmp_path: Path) -> None:
    """The remedy names the option."""
    (tmp_path / "file").touch()
    manifest = Manifest(model=ModelName.parse("x"), layers=LAYERS)
    with pytest.raises(UsageError, match="models-dir") as caught:
        require_disk_space([manifest], tmp_path / "file")
    assert str(tmp_path / "file") in caught.value.problem


async def test_an_architecture_is_read_from_the_registry_and_from_disk(
    tmp_path: Path, timeouts: Timeouts, serve: Serve
) -> None:
    """The first bytes are enough, and a blob on disk costs no request."""
    from spicy_avocado_magic.engine.registry import read_manifest

    url = await serve(create_registry())
    manifest = await read_manifest(named(url), timeouts=timeouts)
    far = await read_model_architecture(manifest, tmp_path, timeouts=timeouts)
    assert far is not None, "a registry with ranges gave no shape"
    assert far.trained_context == 2048
    await fetch_blobs(
        manifest, tmp_path, timeouts=timeouts, on_progress=lambda _digest, _done: None
    )
    gone = Manifest(
        model=ModelName.parse("127.0.0.1:9/library/tiny"), layers=manifest.layers
    )
    assert await read_model_architecture(gone, tmp_path, timeouts=timeouts) == far


async def test_an_architecture_that_cannot_be_read_is_no_error(
    tmp_path: Path, timeouts: Timeouts, serve: Serve
) -> None:
    """Without ranges, response or GGUF there is no estimate."""
    weights = Layer(sha256=layer_of(WEIGHTS).sha256, size_bytes=70_000, is_weights=True)
    url = await serve(Registry().application())
    for base_url in (url, "http://127.0.0.1:9"):
        manifest = Manifest(model=named(base_url), layers=(weights,))
        assert (
            await read_model_architecture(manifest, tmp_path, timeouts=timeouts) is None
        )
    empty = Manifest(model=named(url))
    assert await read_model_architecture(empty, tmp_path, timeouts=timeouts) is None
