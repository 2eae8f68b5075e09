"""Download of one large file: resumed after failures, and verified by its hash."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

from ...config.timeouts import Timeouts
from ...errors import ChecksumMismatch
from .disk_space import map_disk_full
from .partial_file import ChecksumError, PartialFile, open_partial_file
from .ranged_download import download_ranges

_DIGEST_TRIES: Final = 2


async def download_file(
    url: str,
    destination: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    timeouts: Timeouts,
    on_progress: Callable[[int, int], None],
) -> None:
    """Download a file; continue from the bytes in ``<name>.part``.

    ``destination`` exists only once the file has the right size and digest. One call
    for a destination at a time.

    Args:
        url: Where it is; redirects are followed.
        destination: Where it goes; its folder is created.
        size: Bytes it must have, if known.
        sha256: Hex digest it must have, if known.
        timeouts: Of the requests, and of the backoff.
        on_progress: Called with bytes received and in total, the latter 0 if unknown.

    Raises:
        NetworkUnreachable: If the server cannot be reached.
        DownloadFailed: If it does not send this file, or not all of it.
        ChecksumMismatch: If it arrives with a wrong digest twice.
        DiskTooSmall: If it does not fit; before the first byte where size is known.
    """

    async def once() -> None:
        async with open_partial_file(
            lambda: PartialFile(destination, size, sha256)
        ) as part:
            await download_ranges(url, part, timeouts=timeouts, on_progress=on_progress)
            await asyncio.to_thread(part.commit)
        on_progress(part.done, part.done)

    with map_disk_full(destination.parent):
        await retry_on_checksum_mismatch(once)


async def retry_on_checksum_mismatch(once: Callable[[], Awaitable[None]]) -> None:
    """Download, and download once more from the start if the digest is wrong.

    The first mismatch may come from damaged bytes of an earlier run.

    Raises:
        ChecksumMismatch: If the digest is wrong again.
    """
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(ChecksumError),
        stop=stop_after_attempt(_DIGEST_TRIES),
        reraise=True,
    )
    try:
        async for trial in retrying:
            with trial:
                await once()
    except ChecksumError as wrong:
        raise ChecksumMismatch(
            f"{wrong} arrived twice with a wrong checksum: not the published file.",
            "Something on this network changes downloads: try another network, or set "
            "this one's proxy variables.",
        ) from wrong
