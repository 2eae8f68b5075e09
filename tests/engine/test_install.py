"""A release on its way into the cache."""

from __future__ import annotations

import asyncio
import hashlib
import io
import platform
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zstandard
from aiohttp import web

from spicy_avocado_magic.engine.install import install
from spicy_avocado_magic.engine.release import Installed, archive_for
from spicy_avocado_magic.errors import DownloadFailed, UsageMistake
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
    assert not list(installation.cache.rglob(NAME)), "the archive was kept"


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
    url = await serve(ReleaseHost(content=content, sums=sums).application())
    for _ in range(2):
        with pytest.raises(DownloadFailed, match="no ollama program"):
            await installation.run(url)


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


async def test_what_a_killed_host_left_is_cleared_or_used(
    installation: Installation, serve: Serve
) -> None:
    """A half-unpacked folder goes; an archive is verified again before it is used."""
    folder = installation.cache / "ollama"
    (folder / ".unpacking-old").mkdir(parents=True)
    (folder / f"{VERSION}-{NAME}").write_bytes(b"not what was verified")
    url = await serve(ReleaseHost().application())
    installed = await installation.run(url)
    assert installed.path.exists()
    assert not (folder / ".unpacking-old").exists()
