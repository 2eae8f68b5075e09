"""Bring an Ollama release into the cache, once for all hosts that use it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Final

from ...config.timeouts import Timeouts
from ...errors import DownloadFailed
from ...system.file_lock import try_lock
from ...system.paths import ENGINES_LOCK
from ..download.http import TRANSIENT_STATUSES, HTTPStatusError, get_text
from ..download.retry import RetryableError, retry_while_progressing
from ..download.verified_download import retry_on_checksum_mismatch
from .release import Archive, OllamaInstall, archive_for, no_such_release
from .release_download import ReleaseDownload
from .unpack import TEMPORARY_PREFIX

ORIGIN: Final = "the release archive"

_LOCK_EVERY_S: Final = 0.2
_NOT_FOUND: Final = 404


async def install(
    number: str,
    *,
    releases_url: str,
    engines: Path,
    timeouts: Timeouts,
    gpu_libraries: frozenset[str],
    on_progress: Callable[[int, int], None],
    on_detail: Callable[[str], None],
) -> OllamaInstall:
    """Return an installed release, fetching it if it is not there.

    A release's folder appears in one step and is named after what is in it, so
    whatever exists is whole. Two hosts may call this at once.

    Args:
        number: ``X.Y.Z`` or ``X.Y.Z-rcN``.
        releases_url: Base of the release page.
        engines: Folder of all releases; it outlives the host.
        timeouts: The waits.
        gpu_libraries: Folders of ``lib/ollama`` to keep, such as ``cuda_v12``.
        on_progress: Told bytes fetched and bytes in total.
        on_detail: Told in plain words what is being done.

    Raises:
        UsageError: If there is no such release.
        PlatformUnsupported: If there is no archive for this machine.
        DiskTooSmall: If it does not fit.
        NetworkUnreachable, DownloadFailed: If it does not arrive whole.
        ChecksumMismatch: If its checksum is wrong twice.
    """
    archive = archive_for(number, releases_url, platform.system(), platform.machine())
    flavour = "+".join(sorted(gpu_libraries)) or "cpu"
    home = engines / f"{number}-{flavour}"
    file = engines / f"{number}-{archive.name}"
    async with _only_one(engines / ENGINES_LOCK, on_detail):
        await asyncio.to_thread(_clear, engines)
        if not home.exists():
            await asyncio.to_thread(_clear_parts, engines, file.name)
            on_detail(f"fetching Ollama {number}")
            sha256 = await _published_digest(archive, timeouts)
            arrival = ReleaseDownload(archive, sha256, file, home, gpu_libraries)
            await retry_on_checksum_mismatch(
                partial(arrival.run, timeouts, on_progress)
            )
    return OllamaInstall(path=_executable(home), version=number, origin=ORIGIN)


def _clear(engines: Path) -> None:
    """Remove what killed hosts left half unpacked."""
    for left in engines.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


def _clear_parts(engines: Path, name: str) -> None:
    """Remove what has come of other archives than the one that is wanted now."""
    for left in engines.glob("*.part"):
        if left.stem != name:
            left.unlink()


async def _published_digest(archive: Archive, timeouts: Timeouts) -> str:
    """Return the archive's digest from the release's own list of them."""
    listings: list[str] = []

    async def attempt() -> None:
        listings.append(await _list_digests(archive, timeouts))

    await retry_while_progressing(attempt, position=lambda: 0, timeouts=timeouts)
    for line in listings[0].splitlines():
        digest, _, name = line.partition(" ")
        if name.strip().removeprefix("*").removeprefix("./") == archive.name:
            return digest.lower()
    raise DownloadFailed(
        f"Ollama {archive.version} publishes no checksum for {archive.name}.",
        "Choose another version with --ollama-version X.Y.Z.",
    )


async def _list_digests(archive: Archive, timeouts: Timeouts) -> str:
    """Ask once; what may pass by itself is an interruption."""
    try:
        return await get_text(archive.checksums_url, timeouts)
    except HTTPStatusError as refused:
        if refused.status == _NOT_FOUND:
            raise no_such_release(archive) from refused
        error = DownloadFailed(
            f"The release host answers HTTP {refused.status}.", "Try again later."
        )
        if refused.status in TRANSIENT_STATUSES:
            raise RetryableError(error) from refused
        raise error from refused
    except DownloadFailed as broken:
        raise RetryableError(broken) from broken


def _executable(home: Path) -> Path:
    """Return the server in an unpacked release; macOS archives have no ``bin``."""
    for path in (home / "bin" / "ollama", home / "ollama"):
        if path.exists():
            return path
    shutil.rmtree(home, ignore_errors=True)
    raise DownloadFailed(
        "The release archive holds no ollama program.",
        "Choose another version with --ollama-version X.Y.Z.",
    )


@contextlib.asynccontextmanager
async def _only_one(
    lock: Path, on_detail: Callable[[str], None]
) -> AsyncIterator[None]:
    """Keep other hosts of this cache out."""
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("ab") as file:
            while not try_lock(file.fileno()):
                on_detail("waiting for another notebook that installs Ollama")
                await asyncio.sleep(_LOCK_EVERY_S)
            # A purge removes the lock with all else; what it removed locks nobody.
            if _is_same(file.fileno(), lock):
                yield
                return


def _is_same(descriptor: int, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())
