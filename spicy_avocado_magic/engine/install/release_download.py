"""One archive on its way to one folder: fetched, unpacked and verified in one pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from ...config.timeouts import Timeouts
from ...errors import DownloadFailed
from ..download.disk_space import disk_full
from ..download.partial_file import (
    FileRestarted,
    PartialFile,
    PartialFileReader,
    open_partial_file,
)
from ..download.ranged_download import download_ranges
from ..download.verified_download import refused_status
from .release import Archive, no_such_release
from .unpack import unpack

_NOT_FOUND: Final = 404
_GPU_FOLDERS: Final = ("cuda_", "rocm", "vulkan", "mlx_cuda")
"""Folders under ``lib/ollama`` that only machines with such a GPU can use."""


@dataclass(frozen=True, slots=True)
class ReleaseDownload:
    """One archive on its way to one folder."""

    archive: Archive
    sha256: str
    file: Path
    home: Path
    gpu_libraries: frozenset[str]

    async def run(
        self, timeouts: Timeouts, on_progress: Callable[[int, int], None]
    ) -> None:
        """Fetch and unpack side by side; what came stays for the next try.

        Raises:
            WrongDigest: If it is not what was published; it is forgotten then.
        """
        async with open_partial_file(self._part) as part:
            await self._bring(part, timeouts, on_progress)

    async def _bring(
        self,
        part: PartialFile,
        timeouts: Timeouts,
        on_progress: Callable[[int, int], None],
    ) -> None:
        unpacking = asyncio.create_task(self._unpack(part))
        arriving = asyncio.create_task(
            download_ranges(
                self.archive.url, part, timeouts=timeouts, on_progress=on_progress
            )
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
                raise no_such_release(self.archive) from error
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

    def _part(self) -> PartialFile:
        return PartialFile(self.file, None, self.sha256, beside=self._unpacked_bytes)

    def _unpacked_bytes(self, archive_bytes: int) -> int:
        # Libraries of GPUs are most of an archive, and unpack to 3.5 times the size.
        return 3 * archive_bytes if self.gpu_libraries else archive_bytes // 2

    async def _unpack(self, part: PartialFile) -> None:
        """Unpack in a thread; it ends by itself once the part is closed."""
        while True:
            follower = PartialFileReader(part)
            try:
                await asyncio.to_thread(
                    unpack,
                    follower,
                    self.archive.name,
                    self.home,
                    verify=part.verify,
                    keep=lambda path: is_wanted(path, self.gpu_libraries),
                )
            except FileRestarted:
                continue
            finally:
                follower.close()
            return


def _has_refused(unpacking: asyncio.Task[None]) -> bool:
    is_failed = unpacking.done() and not unpacking.cancelled()
    return is_failed and isinstance(unpacking.exception(), DownloadFailed)


def is_wanted(path: str, gpu_libraries: frozenset[str]) -> bool:
    """Whether a member of an archive is of use on this machine."""
    parts = PurePosixPath(path).parts
    if len(parts) < 3 or parts[:2] != ("lib", "ollama"):  # noqa: PLR2004
        return True
    return not parts[2].startswith(_GPU_FOLDERS) or parts[2] in gpu_libraries
