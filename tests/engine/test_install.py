"""A release on its way into the cache."""

from __future__ import annotations

import asyncio
import hashlib
import io
import platform
import shutil
import tarfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zstandard
from aiohttp import web

from spicy_avocado_magic.engine.install import install
from spicy_avocado_magic.engine.release import Installed, archive_for
from spicy_avocado_magic.errors import DiskTooSmall, DownloadFailed, UsageMistake
from spicy_avocado_magic.policy import Policy

from .conftest import Serve

VERSION = "0.34.1"
NAME = archive_for(VERSION, "", platform.system(), platform.machine()).name


def release(paths: dict[str, bytes]) -> bytes:
    """Return an archive with these files."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for path, content in paths.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return zstandard.compress(plain.getvalue())


RELEASE = release(
    {
        "bin/ollama": b"#!/bin/sh\n",
        "lib/ollama/cuda_v12/a.so": b"12",
        "lib/ollama/cuda_v13/a.so": b"13",
        "lib/ollama/libggml.so": b"cpu",
        "lib/ollama/vulkan/a.so": b"v",
    }
)


@dataclass(slots=True)
class ReleaseHost:
    """A release page with one release."""

    content: bytes = RELEASE
    sums: str = f"{hashlib.sha256(RELEASE).hexdigest()}  ./{NAME}\n"
    fetched: list[str] = field(default_factory=list)
    sent: int = 0
    """How often the archive was sent."""

    def application(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        app.router.add_get(f"/download/v{VERSION}/{{name}}", self._give)
        return app

    async def _give(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.fetched.append(name)
        if name == "sha256sum.txt":
            return web.Response(text=f"{'0' * 64}  ./other.tgz\n{self.sums}")
        if "Range" in request.headers:
            end = {"Content-Range": f"bytes */{len(self.content)}"}
            return web.Response(status=416, headers=end)
        self.sent += 1
        return web.Response(body=self.content)


@dataclass(slots=True)
class Installation:
    """What an ``install`` is called with."""

    cache: Path
    policy: Policy
    details: list[str] = field(default_factory=list)

    async def run(
        self, url: str, *, version: str = VERSION, gpu: tuple[str, ...] = ()
    ) -> Installed:
        """Install."""
        return await install(
            version,
            releases_url=url,
            cache=self.cache,
            policy=self.policy,
            gpu_libraries=frozenset(gpu),
            on_progress=lambda _done, _total: None,
            on_detail=self.details.append,
        )


@pytest.fixture
def installation(tmp_path: Path, policy: Policy) -> Installation:
    """Return an installation into an empty cache."""
    return Installation(tmp_path, policy)


async def test_a_release_is_installed_once(
    installation: Installation, serve: Serve
) -> None:
    """The second time nothing is fetched, and no archive is kept."""
    host = ReleaseHost()
    url = await serve(host.application())
    first = await installation.run(url)
    assert first.version == VERSION
    assert first.path.read_bytes() == b"#!/bin/sh\n"
    assert host.fetched == ["sha256sum.txt", NAME]
    assert await installation.run(url) == first
    assert len(host.fetched) == 2, "an installed release was fetched again"
    kept = list(installation.cache.rglob(f"*{NAME}*"))
    assert not kept, "the archive was kept"


@pytest.mark.parametrize(
    ("gpu", "kept"),
    [((), {"libggml.so"}), (("cuda_v12",), {"libggml.so", "cuda_v12"})],
)
async def test_only_libraries_of_this_machine_are_kept(
    installation: Installation, serve: Serve, gpu: tuple[str, ...], kept: set[str]
) -> None:
    """Folders for other GPUs, and vulkan, take no space."""
    url = await serve(ReleaseHost().application())
    installed = await installation.run(url, gpu=gpu)
    libraries = installed.path.parent.parent / "lib" / "ollama"
    assert {path.name for path in libraries.iterdir()} == kept


async def test_a_gpu_machine_does_not_reuse_a_cpu_install(
    installation: Installation, serve: Serve
) -> None:
    """A cache from a CPU machine lacks libraries, so it does not count."""
    host = ReleaseHost()
    url = await serve(host.application())
    await installation.run(url)
    installed = await installation.run(url, gpu=("cuda_v12",))
    assert (installed.path.parents[1] / "lib/ollama/cuda_v12").is_dir()


@pytest.mark.parametrize("content", [RELEASE[:-100], RELEASE[:-1] + b"!"])
async def test_what_fails_its_checksum_is_never_unpacked(
    installation: Installation, serve: Serve, content: bytes
) -> None:
    """A truncated or altered archive leaves nothing to run."""
    url = await serve(ReleaseHost(content=content).application())
    with pytest.raises(DownloadFailed, match="wrong checksum"):
        await installation.run(url)
    assert not list(installation.cache.rglob("bin")), "it was unpacked all the same"


async def test_without_a_published_checksum_nothing_is_installed(
    installation: Installation, serve: Serve
) -> None:
    """No digest, no install."""
    host = ReleaseHost(sums="")
    with pytest.raises(DownloadFailed, match="publishes no checksum"):
        await installation.run(await serve(host.application()))
    assert host.fetched == ["sha256sum.txt"]


async def test_a_version_that_does_not_exist_is_the_users_mistake(
    installation: Installation, serve: Serve
) -> None:
    """It is not retried, and the message names the version."""
    url = await serve(ReleaseHost().application())
    with pytest.raises(UsageMistake, match=r"0\.99\.0"):
        await installation.run(url, version="0.99.0")


async def test_an_archive_without_ollama_is_refused(
    installation: Installation, serve: Serve
) -> None:
    """What unpacks but holds no program does not count as installed."""
    content = release({"readme": b"x"})
    sums = f"{hashlib.sha256(content).hexdigest()}  {NAME}\n"
    host = ReleaseHost(content=content, sums=sums)
    url = await serve(host.application())
    for _ in range(2):
        with pytest.raises(DownloadFailed, match="no ollama program"):
            await installation.run(url)
    assert host.fetched.count(NAME) == 2, "the useless release was kept"


async def test_two_hosts_install_one_after_the_other(
    installation: Installation, serve: Serve
) -> None:
    """The second waits and finds the first one's work."""
    host = ReleaseHost()
    url = await serve(host.application())
    one, two = await asyncio.gather(installation.run(url), installation.run(url))
    assert one == two
    assert host.fetched.count(NAME) == 1, "both fetched the archive"
    assert any("waiting" in detail for detail in installation.details)


@pytest.mark.parametrize(("left", "sent"), [(RELEASE, 0), (b"altered since", 1)])
async def test_what_a_killed_host_left_is_cleared_or_used(
    installation: Installation, serve: Serve, left: bytes, sent: int
) -> None:
    """A half-unpacked folder goes; an archive is verified again before it is used."""
    folder = installation.cache / "ollama"
    (folder / ".unpacking-old").mkdir(parents=True)
    (folder / f"{VERSION}-{NAME}").write_bytes(left)
    host = ReleaseHost()
    installed = await installation.run(await serve(host.application()))
    assert host.sent == sent
    assert installed.path.exists()
    assert not (folder / ".unpacking-old").exists()


async def test_a_disk_too_small_for_the_unpacked_is_told_at_once(
    installation: Installation, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for the archive alone is not enough."""
    usage = shutil.disk_usage("/")._replace(free=len(RELEASE) + 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(DiskTooSmall):
        await installation.run(
            await serve(ReleaseHost().application()), gpu=("cuda_v12",)
        )
    assert not list(installation.cache.rglob("bin"))


async def test_a_cancel_ends_the_unpacking(
    installation: Installation, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread is told, so that it takes back what it wrote."""
    begun, ended = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(*_: object, is_cancelled: Callable[[], bool], **__: object) -> None:
        loop.call_soon_threadsafe(begun.set)
        for _turn in range(500):
            if is_cancelled():
                ended.set()
                return
            time.sleep(0.01)

    monkeypatch.setattr("spicy_avocado_magic.engine.install.unpack", slow)
    url = await serve(ReleaseHost().application())
    task = asyncio.create_task(installation.run(url))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 1), "the thread goes on"
