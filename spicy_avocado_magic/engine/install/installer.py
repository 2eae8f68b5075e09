"""Installation of an Ollama release into the cache, which all daemons share."""

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
from ...errors import AvocadoError, DownloadFailed
from ...system.file_lock import try_lock
from ...system.paths import ENGINES_LOCK
from ..download.http import HTTPStatusError, get_text_with_retries
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
    """Return an installed release; download it if it is missing.

    A release's folder appears in one step and is named after its content, so a folder
    that exists is complete. Two daemons may call this at the same time.

    Args:
        number: ``X.Y.Z`` or ``X.Y.Z-rcN``.
        releases_url: Base of the release page.
        engines: Folder of all releases.
        timeouts: Of the downloads.
        gpu_libraries: Folders of ``lib/ollama`` to keep, such as ``cuda_v12``.
        on_progress: Called with bytes received and bytes in total.
        on_detail: Called with the present step, for people.

    Raises:
        UsageError: If the release does not exist.
        PlatformUnsupported: If it has no archive for this machine.
        DiskTooSmall: If it does not fit.
        NetworkUnreachable, DownloadFailed: If it does not arrive complete.
        ChecksumMismatch: If its checksum is wrong twice.
    """
    archive = archive_for(number, releases_url, platform.system(), platform.machine())
    flavour = "+".join(sorted(gpu_libraries)) or "cpu"
    home = engines / f"{number}-{flavour}"
    file = engines / f"{number}-{archive.name}"
    async with _exclusive(engines / ENGINES_LOCK, on_detail):
        await asyncio.to_thread(_remove_unfinished, engines)
        if not home.exists():
            await asyncio.to_thread(_remove_other_parts, engines, file.name)
            on_detail(f"downloading Ollama {number}")
            sha256 = await _published_digest(archive, timeouts)
            download = ReleaseDownload(archive, sha256, file, home, gpu_libraries)
            await retry_on_checksum_mismatch(
                partial(download.run, timeouts, on_progress)
            )
    return OllamaInstall(path=_executable(home), version=number, origin=ORIGIN)


def _remove_unfinished(engines: Path) -> None:
    """Remove the half-unpacked folders of killed daemons."""
    for left in engines.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


def _remove_other_parts(engines: Path, name: str) -> None:
    """Remove partial downloads of other archives."""
    for left in engines.glob("*.part"):
        if left.stem != name:
            left.unlink()


async def _published_digest(archive: Archive, timeouts: Timeouts) -> str:
    """Return the archive's digest from the release's checksum file."""

    def status_error(response: HTTPStatusError) -> AvocadoError:
        if response.status == _NOT_FOUND:
            return no_such_release(archive)
        return DownloadFailed(
            f"The release host answers HTTP {response.status}.", "Try again later."
        )

    listing = await get_text_with_retries(
        archive.checksums_url, timeouts, status_error=status_error
    )
    for line in listing.splitlines():
        digest, _, name = line.partition(" ")
        if name.strip().removeprefix("*").removeprefix("./") == archive.name:
            return digest.lower()
    raise DownloadFailed(
        f"Ollama {archive.version} publishes no checksum for {archive.name}.",
        "Choose another version with --ollama-version X.Y.Z.",
    )


def _executable(home: Path) -> Path:
    """Return the program in an unpacked release; macOS archives have no ``bin``."""
    for path in (home / "bin" / "ollama", home / "ollama"):
        if path.exists():
            return path
    shutil.rmtree(home, ignore_errors=True)
    raise DownloadFailed(
        "The release archive contains no ollama program.",
        "Choose another version with --ollama-version X.Y.Z.",
    )


@contextlib.asynccontextmanager
async def _exclusive(
    lock: Path, on_detail: Callable[[str], None]
) -> AsyncIterator[None]:
    """Hold the lock of the cache against other daemons."""
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("ab") as file:
            while not try_lock(file.fileno()):
                on_detail("waiting for another notebook that is installing Ollama")
                await asyncio.sleep(_LOCK_EVERY_S)
            # A purge removes the lock file as well; a removed file locks nobody out.
            if _is_same(file.fileno(), lock):
                yield
                return


def _is_same(descriptor: int, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())
