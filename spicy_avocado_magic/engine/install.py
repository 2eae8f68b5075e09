"""Bring an Ollama release into the cache: fetched and unpacked in one pass."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import platform
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final

from ..environment import ENGINES_LOCK
from ..errors import DownloadFailed, UsageMistake
from ..policy import Policy
from .connections import TRANSIENT_STATUSES, StatusRefused, get_text
from .disk import disk_full
from .download import refused_status, try_twice
from .part import Follower, Part, Rewound
from .patience import Interrupted, keep_trying
from .release import Archive, Installed, archive_for
from .transfer import transfer
from .unpack import TEMPORARY_PREFIX, unpack

ORIGIN: Final = "the release archive"

_LOCK_EVERY_S: Final = 0.2
_NOT_FOUND: Final = 404
_GPU_FOLDERS: Final = ("cuda_", "rocm", "vulkan", "mlx_cuda")
"""Folders under ``lib/ollama`` that only machines with such a GPU can use."""


async def install(
    number: str,
    *,
    releases_url: str,
    engines: Path,
    policy: Policy,
    gpu_libraries: frozenset[str],
    on_progress: Callable[[int, int], None],
    on_detail: Callable[[str], None],
) -> Installed:
    """Return an installed release, fetching it if it is not there.

    A release's folder appears in one step and is named after what is in it, so
    whatever exists is whole. Two hosts may call this at once.

    Args:
        number: ``X.Y.Z`` or ``X.Y.Z-rcN``.
        releases_url: Base of the release page.
        engines: Folder of all releases; it outlives the host.
        policy: The waits.
        gpu_libraries: Folders of ``lib/ollama`` to keep, such as ``cuda_v12``.
        on_progress: Told bytes fetched and bytes in total.
        on_detail: Told in plain words what is being done.

    Raises:
        UsageMistake: If there is no such release.
        PlatformUnsupported: If there is no archive for this machine.
        DiskTooSmall: If it does not fit.
        NetworkUnreachable, DownloadFailed: If it does not arrive whole.
        DownloadAltered: If its checksum is wrong twice.
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
            sha256 = await _published_digest(archive, policy)
            arrival = _Arrival(archive, sha256, file, home, gpu_libraries)
            await try_twice(partial(arrival.once, policy, on_progress))
    return Installed(path=_executable(home), version=number, origin=ORIGIN)


def _clear(engines: Path) -> None:
    """Remove what killed hosts left half unpacked."""
    for left in engines.glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(left, ignore_errors=True)


def _clear_parts(engines: Path, name: str) -> None:
    """Remove what has come of other archives than the one that is wanted now."""
    for left in engines.glob("*.part"):
        if left.stem != name:
            left.unlink()


@dataclass(frozen=True, slots=True)
class _Arrival:
    """One archive on its way to one folder."""

    archive: Archive
    sha256: str
    file: Path
    home: Path
    gpu_libraries: frozenset[str]

    async def once(
        self, policy: Policy, on_progress: Callable[[int, int], None]
    ) -> None:
        """Fetch and unpack side by side; what came stays for the next try.

        Raises:
            WrongDigest: If it is not what was published; it is forgotten then.
        """
        part = await asyncio.to_thread(self._part)
        unpacking = asyncio.create_task(self._unpack(part))
        arriving = asyncio.create_task(
            transfer(self.archive.url, part, policy=policy, on_progress=on_progress)
        )
        both = {unpacking, arriving}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_EXCEPTION)
            if _has_refused(unpacking):
                # Damage on the way looks the same: the digest tells.
                await asyncio.wait({arriving})
            if arriving.done():
                await arriving
                await asyncio.to_thread(part.verify)
            await unpacking
            await asyncio.to_thread(part.path.unlink)
        except DownloadFailed as error:
            if refused_status(error) == _NOT_FOUND:
                raise _no_such_release(self.archive) from error
            raise
        except OSError as error:
            full = disk_full(self.home.parent, error)
            if full is None:
                raise
            raise full from error
        finally:
            part.close()
            arriving.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    def _part(self) -> Part:
        return Part(self.file, None, self.sha256, beside=self._unpacked_bytes)

    def _unpacked_bytes(self, archive_bytes: int) -> int:
        # Libraries of GPUs are most of an archive, and unpack to 3.5 times the size.
        return 3 * archive_bytes if self.gpu_libraries else archive_bytes // 2

    async def _unpack(self, part: Part) -> None:
        """Unpack in a thread; it ends by itself once the part is closed."""
        while True:
            follower = Follower(part)
            try:
                await asyncio.to_thread(
                    unpack,
                    follower,
                    self.archive.name,
                    self.home,
                    verify=part.verify,
                    keep=lambda path: is_wanted(path, self.gpu_libraries),
                )
            except Rewound:
                continue
            finally:
                follower.close()
            return


def _has_refused(unpacking: asyncio.Task[None]) -> bool:
    is_failed = unpacking.done() and not unpacking.cancelled()
    return is_failed and isinstance(unpacking.exception(), DownloadFailed)


async def _published_digest(archive: Archive, policy: Policy) -> str:
    """Return the archive's digest from the release's own list of them."""
    listings: list[str] = []

    async def attempt() -> None:
        listings.append(await _list_digests(archive, policy))

    await keep_trying(attempt, position=lambda: 0, policy=policy)
    for line in listings[0].splitlines():
        digest, _, name = line.partition(" ")
        if name.strip().removeprefix("*").removeprefix("./") == archive.name:
            return digest.lower()
    raise DownloadFailed(
        f"Ollama {archive.version} publishes no checksum for {archive.name}.",
        "Choose another version with --ollama-version X.Y.Z.",
    )


async def _list_digests(archive: Archive, policy: Policy) -> str:
    """Ask once; what may pass by itself is an interruption."""
    try:
        return await get_text(archive.checksums_url, policy)
    except StatusRefused as refused:
        if refused.status == _NOT_FOUND:
            raise _no_such_release(archive) from refused
        error = DownloadFailed(
            f"The release host answers HTTP {refused.status}.", "Try again later."
        )
        if refused.status in TRANSIENT_STATUSES:
            raise Interrupted(error) from refused
        raise error from refused
    except DownloadFailed as broken:
        raise Interrupted(broken) from broken


def _no_such_release(archive: Archive) -> UsageMistake:
    return UsageMistake(
        f"There is no Ollama release {archive.version} with {archive.name}.",
        "Leave --ollama-version out, or name one from github.com/ollama/ollama.",
    )


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
    """Keep other hosts of this cache out."""
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("ab") as file:
            while not _try_lock(file.fileno()):
                on_detail("waiting for another notebook that installs Ollama")
                await asyncio.sleep(_LOCK_EVERY_S)
            # A purge removes the lock with all else; what it removed locks nobody.
            if _is_same(file.fileno(), lock):
                yield
                return


def _is_same(descriptor: int, path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(descriptor), path.stat())


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
