"""Bring an Ollama release into the cache: fetched, verified, unpacked in one step."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import platform
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path, PurePosixPath
from typing import Final

from ..errors import DownloadFailed, UsageMistake
from ..policy import Policy
from .connections import StatusRefused, get_text
from .disk import require_space
from .download import fetch, refused_status
from .release import Archive, Installed, archive_for, resolve_version
from .unpack import TEMPORARY_PREFIX, unpack

ORIGIN: Final = "the release archive"

_LOCK_EVERY_S: Final = 0.2
_NOT_FOUND: Final = 404
_GPU_FOLDERS: Final = ("cuda_", "rocm", "vulkan", "mlx_cuda")
"""Folders under ``lib/ollama`` that only machines with such a GPU can use."""


async def install(
    version: str,
    *,
    releases_url: str,
    cache: Path,
    policy: Policy,
    gpu_libraries: frozenset[str],
    on_progress: Callable[[int, int], None],
    on_detail: Callable[[str], None],
) -> Installed:
    """Return an installed release, fetching it if it is not there.

    A release's folder appears in one step and is named after what is in it, so
    whatever exists is whole. Two hosts may call this at once.

    Args:
        version: ``X.Y.Z``, ``latest``, or empty for the tested default.
        releases_url: Base of the release page.
        cache: Folder that outlives the host.
        policy: The waits.
        gpu_libraries: Folders of ``lib/ollama`` to keep, such as ``cuda_v12``.
        on_progress: Told bytes fetched and bytes in total.
        on_detail: Told in plain words what is being done.

    Raises:
        UsageMistake: If there is no such release, or it is too old.
        PlatformUnsupported: If there is no archive for this machine.
        DiskTooSmall: If it does not fit.
        NetworkUnreachable, DownloadFailed: If it does not arrive whole.
    """
    number = await resolve_version(version, releases_url, policy)
    archive = archive_for(number, releases_url, platform.system(), platform.machine())
    flavour = "+".join(sorted(gpu_libraries)) or "cpu"
    home = cache / "ollama" / f"{number}-{flavour}"
    async with _only_one(cache / "ollama" / ".lock", on_detail):
        if not home.exists():
            file = cache / "ollama" / f"{number}-{archive.name}"
            on_detail(f"fetching Ollama {number}")
            await _fetch_verified(archive, file, gpu_libraries, policy, on_progress)
            on_detail(f"unpacking Ollama {number}")
            await _unpack(file, home, gpu_libraries)
            await asyncio.to_thread(file.unlink)
    return Installed(path=_executable(home), version=number, origin=ORIGIN)


async def _fetch_verified(
    archive: Archive,
    file: Path,
    gpu_libraries: frozenset[str],
    policy: Policy,
    on_progress: Callable[[int, int], None],
) -> None:
    sha256 = await _published_digest(archive, policy)

    def check_space(done: int, total: int) -> None:
        # Libraries of GPUs are most of an archive, and unpack to 3.5 times the size.
        if done == 0:
            unpacked = 3 * total if gpu_libraries else total // 2
            require_space(file.parent, total + unpacked)
        on_progress(done, total)

    with contextlib.suppress(FileNotFoundError):
        # An earlier host ended between verifying and unpacking: verify it again.
        await asyncio.to_thread(file.replace, file.with_name(file.name + ".part"))
    try:
        await fetch(
            archive.url, file, sha256=sha256, policy=policy, on_progress=check_space
        )
    except DownloadFailed as error:
        if refused_status(error) == _NOT_FOUND:
            raise _no_such_release(archive) from error
        raise


async def _published_digest(archive: Archive, policy: Policy) -> str:
    """Return the archive's digest from the release's own list of them."""
    try:
        text = await get_text(archive.checksums_url, policy)
    except StatusRefused as refused:
        if refused.status == _NOT_FOUND:
            raise _no_such_release(archive) from refused
        raise DownloadFailed(
            f"The release host answers HTTP {refused.status}.", "Try again later."
        ) from refused
    for line in text.splitlines():
        digest, _, name = line.partition(" ")
        if name.strip().removeprefix("*").removeprefix("./") == archive.name:
            return digest.lower()
    raise DownloadFailed(
        f"Ollama {archive.version} publishes no checksum for {archive.name}.",
        "Choose another version with --ollama-version X.Y.Z.",
    )


def _no_such_release(archive: Archive) -> UsageMistake:
    return UsageMistake(
        f"There is no Ollama release {archive.version} with {archive.name}.",
        "Leave --ollama-version out, or name one from github.com/ollama/ollama.",
    )


async def _unpack(file: Path, home: Path, gpu_libraries: frozenset[str]) -> None:
    """Unpack in a thread, which stops by itself when this task is cancelled."""
    cancelled = threading.Event()
    try:
        await asyncio.to_thread(
            unpack,
            file,
            home,
            keep=lambda path: is_wanted(path, gpu_libraries),
            is_cancelled=cancelled.is_set,
        )
    finally:
        cancelled.set()


def is_wanted(path: str, gpu_libraries: frozenset[str]) -> bool:
    """Whether a member of an archive is of use on this machine."""
    parts = PurePosixPath(path).parts
    if len(parts) < 3 or parts[:2] != ("lib", "ollama"):  # noqa: PLR2004
        return True
    return not parts[2].startswith(_GPU_FOLDERS) or parts[2] in gpu_libraries


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
    """Keep other hosts of this cache out, and clear what a killed one left."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("ab") as file:
        while not _try_lock(file.fileno()):
            on_detail("waiting for another notebook that installs Ollama")
            await asyncio.sleep(_LOCK_EVERY_S)
        for left in lock.parent.glob(f"{TEMPORARY_PREFIX}*"):
            await asyncio.to_thread(shutil.rmtree, left, ignore_errors=True)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
