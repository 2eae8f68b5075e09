"""Checks for free disk space."""

from __future__ import annotations

import errno
import hashlib
import io
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from aiohttp import web

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.engine.download.disk_space import (
    map_disk_full,
    require_space,
)
from spicy_avocado_magic.engine.download.verified_download import (
    download_file,
)
from spicy_avocado_magic.engine.install.installer import install
from spicy_avocado_magic.engine.install.release import archive_for
from spicy_avocado_magic.errors import DiskTooSmall

from ..conftest import Serve
from ..file_host import FileHost

MEBI = 1 << 20


def test_the_message_names_folder_needed_and_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder need not exist yet."""
    usage = shutil.disk_usage(tmp_path)._replace(free=1 << 30)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    folder = tmp_path / "not" / "yet"
    require_space(folder, 1 << 30)
    with pytest.raises(DiskTooSmall, match=r"yet needs 2\.1 GB, but only 1\.1 GB"):
        require_space(folder, 2 << 30)


def test_only_full_disks_and_quotas_are_mapped(tmp_path: Path) -> None:
    """Quotas count; other errors of the system do not."""
    for number in (errno.ENOSPC, errno.EDQUOT):
        with pytest.raises(DiskTooSmall), map_disk_full(tmp_path):
            raise OSError(number, "")
    with pytest.raises(PermissionError), map_disk_full(tmp_path):
        raise PermissionError(errno.EACCES, "")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 8 MiB; only root may."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small disk can be mounted by root on Linux only")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_file_too_large_for_a_real_disk_is_not_requested(
    small_disk: Path, serve: Serve, timeouts: Timeouts
) -> None:
    """No request is made where the size is known."""
    host = FileHost(bytes(9 * MEBI))
    with pytest.raises(DiskTooSmall, match=r"needs 9\.4 MB"):
        await bring(host, small_disk / "file", serve, timeouts, size=9 * MEBI)
    assert host.ranges == []


async def test_a_real_disk_that_fills_up_is_an_error_and_keeps_the_bytes(
    small_disk: Path, serve: Serve, timeouts: Timeouts
) -> None:
    """An unknown size cannot be checked beforehand."""
    # Without ranges and length, the size stays unknown until the disk is full.
    host = FileHost(
        bytes(12 * MEBI), knows_ranges=False, is_chunked=True, stall_after=[11 * MEBI]
    )
    patient = replace(timeouts, stall_s=30.0)  # a second attempt would fail otherwise
    with pytest.raises(DiskTooSmall, match="is full"):
        await bring(host, small_disk / "file", serve, patient)
    assert used_bytes(small_disk) > 4 * MEBI


async def test_a_real_disk_that_fills_up_while_unpacking_is_an_error(
    small_disk: Path, serve: Serve, timeouts: Timeouts
) -> None:
    """The unpacked files are removed, so that the disk is not left full."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("bin/ollama")
        member.size = 20 * MEBI
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    packed = zstandard.compress(archive.getvalue())
    app = web.Application()
    name = archive_for("0.34.1", "", platform.system(), platform.machine()).name
    files = FileHost(packed)
    sums = f"{hashlib.sha256(packed).hexdigest()}  ./{name}\n"

    async def give_sums(_request: web.Request) -> web.Response:
        return web.Response(text=sums)

    app.router.add_get("/download/v0.34.1/sha256sum.txt", give_sums)
    app.router.add_get(f"/download/v0.34.1/{name}", files.answer)
    with pytest.raises(DiskTooSmall, match="is full") as caught:
        await install(
            "0.34.1",
            releases_url=await serve(app),
            engines=small_disk,
            timeouts=timeouts,
            gpu_libraries=frozenset(),
            on_progress=lambda *_: None,
            on_detail=lambda _: None,
        )
    assert caught.value.permanent, "it would be tried again"
    assert used_bytes(small_disk) < MEBI


def used_bytes(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


async def bring(
    host: FileHost,
    path: Path,
    serve: Serve,
    timeouts: Timeouts,
    size: int | None = None,
) -> None:
    """Fetch the file of a host."""
    url = f"{await serve(host.application())}/file"
    await download_file(
        url, path, size=size, timeouts=timeouts, on_progress=lambda *_: None
    )
