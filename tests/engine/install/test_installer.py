"""A release on its way into the cache."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import io
import platform
import random
import shutil
import tarfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import zstandard
from aiohttp import web

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.engine.install.installer import install
from spicy_avocado_magic.engine.install.release import OllamaInstall, archive_for
from spicy_avocado_magic.errors import (
    ChecksumMismatch,
    DiskTooSmall,
    DownloadFailed,
    UsageError,
)
from tests.machine_speed import scaled

from ..conftest import Serve
from ..file_host import FileHost

VERSION = "0.34.1"
NAME = archive_for(VERSION, "", platform.system(), platform.machine()).name


def release(paths: dict[str, bytes]) -> bytes:
    """Return an archive with these files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, content in paths.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return zstandard.compress(archive.getvalue())


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
    """A release page with one release and a host that may misbehave."""

    content: bytes = RELEASE
    sums: str = f"{hashlib.sha256(RELEASE).hexdigest()}  ./{NAME}\n"
    refusals: list[int] = field(default_factory=list)
    """Statuses in place of the list of digests."""
    listings: int = 0
    """How often the digests were asked for."""
    archive: FileHost = field(init=False)

    def __post_init__(self) -> None:
        self.archive = FileHost(self.content)

    def application(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        base = f"/download/v{VERSION}"
        app.router.add_get(f"{base}/sha256sum.txt", self._list)
        app.router.add_get(f"{base}/{NAME}", self.archive.answer)
        return app

    async def _list(self, _request: web.Request) -> web.Response:
        self.listings += 1
        if self.refusals:
            return web.Response(status=self.refusals.pop(0))
        return web.Response(text=f"{'0' * 64}  ./other.tgz\n{self.sums}")


def published(content: bytes) -> ReleaseHost:
    """Return a host that has published this archive."""
    sums = f"{hashlib.sha256(content).hexdigest()}  {NAME}\n"
    return ReleaseHost(content=content, sums=sums)


@dataclass(slots=True)
class Installation:
    """What an ``install`` is called with."""

    engines: Path
    timeouts: Timeouts
    details: list[str] = field(default_factory=list)

    async def run(
        self, url: str, *, version: str = VERSION, gpu: tuple[str, ...] = ()
    ) -> OllamaInstall:
        """Install."""
        return await install(
            version,
            releases_url=url,
            engines=self.engines,
            timeouts=self.timeouts,
            gpu_libraries=frozenset(gpu),
            on_progress=lambda _done, _total: None,
            on_detail=self.details.append,
        )


def left_in(installation: Installation) -> list[str]:
    """Return what the engines' folder holds."""
    return sorted(path.name for path in installation.engines.iterdir())


@pytest.fixture
def installation(tmp_path: Path, timeouts: Timeouts) -> Installation:
    """Return an installation into an empty cache."""
    return Installation(tmp_path, timeouts)


async def test_a_release_is_installed_once(
    installation: Installation, serve: Serve
) -> None:
    """The second time nothing is fetched, and no archive is kept."""
    host = ReleaseHost()
    url = await serve(host.application())
    first = await installation.run(url)
    assert first.version == VERSION
    assert first.path.read_bytes() == b"#!/bin/sh\n"
    assert (host.listings, len(host.archive.ranges)) == (1, 1)
    assert await installation.run(url) == first
    assert (host.listings, len(host.archive.ranges)) == (1, 1), "it was fetched again"
    kept = list(installation.engines.rglob(f"*{NAME}*"))
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


@pytest.mark.parametrize(
    "content",
    [RELEASE[:-100], RELEASE[:-1] + b"!", release({"bin/ollama": b"of somebody else"})],
    ids=["truncated", "altered", "another"],
)
async def test_what_fails_its_checksum_is_never_unpacked(
    installation: Installation, serve: Serve, content: bytes
) -> None:
    """A truncated or altered archive leaves nothing to run."""
    url = await serve(ReleaseHost(content=content).application())
    with pytest.raises(ChecksumMismatch, match="twice with a wrong checksum"):
        await installation.run(url)
    assert left_in(installation) == [".lock"], "something of it is left"


async def test_without_a_published_checksum_nothing_is_installed(
    installation: Installation, serve: Serve
) -> None:
    """No digest, no install."""
    host = ReleaseHost(sums="")
    with pytest.raises(DownloadFailed, match="publishes no checksum"):
        await installation.run(await serve(host.application()))
    assert host.archive.ranges == []


@pytest.mark.parametrize(("status", "asked"), [(503, 2), (403, 1)])
async def test_a_list_of_checksums_that_may_come_is_asked_for_again(
    installation: Installation, serve: Serve, status: int, asked: int
) -> None:
    """A request to a busy host is retried; a refusal is final."""
    host = ReleaseHost(refusals=[status])
    url = await serve(host.application())
    with contextlib.suppress(DownloadFailed):
        await installation.run(url)
    assert host.listings == asked


async def test_a_version_that_does_not_exist_is_the_users_mistake(
    installation: Installation, serve: Serve
) -> None:
    """It is not retried, and the message names the version."""
    url = await serve(ReleaseHost().application())
    with pytest.raises(UsageError, match=r"0\.99\.0"):
        await installation.run(url, version="0.99.0")


async def test_an_archive_without_ollama_is_refused(
    installation: Installation, serve: Serve
) -> None:
    """What unpacks but holds no program does not count as installed."""
    host = published(release({"readme": b"x"}))
    url = await serve(host.application())
    for _ in range(2):
        with pytest.raises(DownloadFailed, match="no ollama program"):
            await installation.run(url)
    assert len(host.archive.ranges) == 2, "the useless release was kept"


async def test_two_hosts_install_one_after_the_other(
    installation: Installation, serve: Serve
) -> None:
    """The second waits and finds the first one's work."""
    host = ReleaseHost()
    url = await serve(host.application())
    first, second = await asyncio.gather(installation.run(url), installation.run(url))
    assert first == second
    assert len(host.archive.ranges) == 1, "both fetched the archive"
    assert any("waiting" in detail for detail in installation.details)


@pytest.mark.parametrize(
    ("left", "sent"),
    [(RELEASE, 0), (b"altered", len(RELEASE) - len(b"altered") + len(RELEASE))],
)
async def test_what_a_killed_host_left_is_cleared_or_used(
    installation: Installation, serve: Serve, left: bytes, sent: int
) -> None:
    """A half-unpacked folder goes; what had come of the archive is verified."""
    folder = installation.engines
    (folder / ".unpacking-old").mkdir(parents=True)
    (folder / f"{VERSION}-{NAME}.part").write_bytes(left)
    (folder / f"0.1.0-{NAME}.part").write_bytes(b"of a version nobody wants now")
    host = ReleaseHost()
    installed = await installation.run(await serve(host.application()))
    assert host.archive.sent == sent
    assert installed.path.exists()
    assert left_in(installation) == [".lock", f"{VERSION}-cpu"]


async def test_an_interrupted_archive_is_unpacked_from_its_part(
    installation: Installation, serve: Serve
) -> None:
    """No byte that is on disk is fetched again, and all of it is unpacked."""
    content = release({"bin/ollama": b"#!", "big": random.Random(1).randbytes(1 << 20)})
    host = published(content)
    (installation.engines / f"{VERSION}-{NAME}.part").write_bytes(content[:700_000])
    installed = await installation.run(await serve(host.application()))
    assert host.archive.sent == len(content) - 700_000
    assert (installed.path.parents[1] / "big").stat().st_size == 1 << 20


async def test_a_server_without_ranges_restarts_the_unpacking(
    installation: Installation, serve: Serve
) -> None:
    """What was unpacked of a part that does not count is unpacked again."""
    content = release({"bin/ollama": b"#!", "big": random.Random(1).randbytes(1 << 20)})
    host = published(content)
    host.archive.knows_ranges = False
    host.archive.cut_after = [900_000]
    installed = await installation.run(await serve(host.application()))
    assert host.archive.sent == 900_000 + len(content)
    assert (installed.path.parents[1] / "big").stat().st_size == 1 << 20


async def test_it_is_unpacked_while_it_arrives(
    installation: Installation, serve: Serve
) -> None:
    """The first files are there before the last byte of the archive is."""
    content = release({"bin/ollama": b"#!", "big": random.Random(1).randbytes(5 << 20)})
    host = published(content)
    late = asyncio.Event()
    # The second segment comes last; what is before it can be unpacked.
    host.archive.holding = {1: late}
    url = await serve(host.application())
    installing = asyncio.create_task(installation.run(url))
    async with asyncio.timeout(scaled(10)):
        while not list(installation.engines.glob(".unpacking-*/bin/ollama")):
            await host.archive.until(lambda: True)
            await asyncio.to_thread(time.sleep, 0.01)
    assert not installing.done()
    assert not (installation.engines / f"{VERSION}-cpu").exists()
    late.set()
    assert (await installing).path.read_bytes() == b"#!"


EVIL = {"lib/../../evil": b"x", "bin/ollama": b"#!"}


async def test_a_published_archive_that_is_refused_says_why(
    installation: Installation, serve: Serve
) -> None:
    """A digest that matches is no reason to unpack what leads outside."""
    host = published(release(EVIL))
    with pytest.raises(DownloadFailed, match="leads outside"):
        await installation.run(await serve(host.application()))
    assert f"{VERSION}-cpu" not in left_in(installation)


async def test_an_archive_damaged_in_transmission_is_downloaded_again(
    installation: Installation, serve: Serve
) -> None:
    """What cannot be unpacked and has a wrong digest gets its second chance."""
    content = release({"bin/ollama": b"#!", "big": bytes(1 << 20)})
    host = published(content)
    part = installation.engines / f"{VERSION}-{NAME}.part"
    part.write_bytes(b"damage" + content[6:100])
    installed = await installation.run(await serve(host.application()))
    assert host.archive.starts == [100, 0]
    assert installed.path.exists()


async def test_a_refusal_ends_the_unpacking_too(
    installation: Installation, serve: Serve
) -> None:
    """An archive that stops coming leaves its part and nothing half unpacked."""
    content = release({"bin/ollama": b"#!", "big": random.Random(1).randbytes(1 << 20)})
    host = published(content)
    host.archive.cut_after = [500_000, *[0] * 1000]
    installation.timeouts = replace(installation.timeouts, stalled_s=0.1)
    with pytest.raises(DownloadFailed):
        await installation.run(await serve(host.application()))
    assert left_in(installation) == [".lock", f"{VERSION}-{NAME}.part"]


async def test_a_disk_too_small_for_the_unpacked_release_is_an_error_at_once(
    installation: Installation, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Space for the archive alone is not enough."""
    usage = shutil.disk_usage("/")._replace(free=len(RELEASE) + 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(DiskTooSmall):
        await installation.run(
            await serve(ReleaseHost().application()), gpu=("cuda_v12",)
        )
    assert not list(installation.engines.rglob("bin"))


async def test_a_cancel_ends_the_unpacking(
    installation: Installation, serve: Serve
) -> None:
    """When the task has ended so has the thread, and what it wrote is gone."""
    content = release({"bin/ollama": b"#!", "big": random.Random(1).randbytes(5 << 20)})
    host = published(content)
    host.archive.holding = {1: asyncio.Event()}
    task = asyncio.create_task(installation.run(await serve(host.application())))
    await host.archive.until(lambda: host.archive.sent >= 3 << 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert left_in(installation) == [".lock", f"{VERSION}-{NAME}.part"]


async def test_a_lock_that_was_removed_locks_nobody(
    installation: Installation, serve: Serve
) -> None:
    """Whoever waited while all was removed takes the lock that counts now."""
    lock = installation.engines / ".lock"
    url = await serve(ReleaseHost().application())
    with lock.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        installing = asyncio.create_task(installation.run(url))
        while not installation.details:
            await asyncio.to_thread(time.sleep, 0.01)
        lock.unlink()
    await installing
    assert lock.exists(), "it was installed without a lock"
