"""Download, unpacking and verification of a release archive in one pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from ...config.timeouts import Timeouts
from ...errors import DownloadFailed
from ..download.disk_space import map_disk_full
from ..download.http import status_of
from ..download.partial_file import (
    FileRestarted,
    PartialFile,
    PartialFileReader,
    open_partial_file,
)
from ..download.ranged_download import download_ranges
from .release import Archive, no_such_release
from .unpack import unpack

_NOT_FOUND: Final = 404
_GPU_FOLDERS: Final = ("cuda_", "rocm", "vulkan", "mlx_cuda")
"""Folders under ``lib/ollama`` that only machines with such a GPU can use."""


@dataclass(frozen=True, slots=True)
class ReleaseDownload:
    """The download of one archive and its unpacking into one folder."""

    archive: Archive
    sha256: str
    file: Path
    home: Path
    gpu_libraries: frozenset[str]

    async def run(
        self, timeouts: Timeouts, on_progress: Callable[[int, int], None]
    ) -> None:
        """Download and unpack side by side; received bytes stay for the next attempt.

        Raises:
            ChecksumError: If it is not the published archive; it is deleted then.
        """
        with map_disk_full(self.home.parent):
            async with open_partial_file(self._part) as part:
                await self._download(part, timeouts, on_progress)

    async def _download(
        self,
        part: PartialFile,
        timeouts: Timeouts,
        on_progress: Callable[[int, int], None],
    ) -> None:
        unpacking = asyncio.create_task(self._unpack(part))
        downloading = asyncio.create_task(
            download_ranges(
                self.archive.url, part, timeouts=timeouts, on_progress=on_progress
            )
        )
        tasks = {unpacking, downloading}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if _is_refused(unpacking):
                # Transmission damage looks the same: the digest decides.
                await asyncio.wait({downloading})
            if downloading.done():
                await downloading
                await asyncio.to_thread(part.verify)
            await unpacking
            await asyncio.to_thread(part.path.unlink)
        except DownloadFailed as error:
            if status_of(error) == _NOT_FOUND:
                raise no_such_release(self.archive) from error
            raise
        finally:
            part.close()
            downloading.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _part(self) -> PartialFile:
        return PartialFile(
            self.file, None, self.sha256, extra_bytes=self._unpacked_bytes
        )

    def _unpacked_bytes(self, archive_bytes: int) -> int:
        # GPU libraries are most of an archive and unpack to 3.5 times the size.
        return 3 * archive_bytes if self.gpu_libraries else archive_bytes // 2

    async def _unpack(self, part: PartialFile) -> None:
        """Unpack in a thread, which ends once the partial file is closed."""
        while True:
            reader = PartialFileReader(part)
            try:
                await asyncio.to_thread(
                    unpack,
                    reader,
                    self.archive.name,
                    self.home,
                    verify=part.verify,
                    keep=lambda path: is_wanted(path, self.gpu_libraries),
                )
            except FileRestarted:
                continue
            finally:
                reader.close()
            return


def _is_refused(unpacking: asyncio.Task[None]) -> bool:
    is_failed = unpacking.done() and not unpacking.cancelled()
    return is_failed and isinstance(unpacking.exception(), DownloadFailed)


def is_wanted(path: str, gpu_libraries: frozenset[str]) -> bool:
    """Return whether this machine can use a member of an archive."""
    parts = PurePosixPath(path).parts
    if len(parts) < 3 or parts[:2] != ("lib", "ollama"):  # noqa: PLR2004
        return True
    return not parts[2].startswith(_GPU_FOLDERS) or parts[2] in gpu_libraries
