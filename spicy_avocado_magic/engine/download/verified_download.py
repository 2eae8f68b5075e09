"""Fetch one large file over a network that breaks: resumed, hashed, verified."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

from ...config.timeouts import Timeouts
from ...errors import ChecksumMismatch
from .disk_space import disk_full
from .http import HTTPStatusError
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
    """Bring a file, going on from what an earlier call left in ``<name>.part``.

    ``destination`` exists only once the whole file has its size and digest. One
    call for a destination at a time.

    Args:
        url: Where it is; redirects are followed.
        destination: Where it goes; the folder is made.
        size: Bytes it must have, if they are known.
        sha256: Hex digest it must have, if it is known.
        timeouts: The waits.
        on_progress: Told bytes received and bytes in total, the latter 0 if unknown.

    Raises:
        NetworkUnreachable: If the server cannot be reached.
        DownloadFailed: If it does not send this file, or not whole.
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

    try:
        await retry_on_checksum_mismatch(once)
    except OSError as error:
        full = disk_full(destination.parent, error)
        if full is None:
            raise
        raise full from error


async def retry_on_checksum_mismatch(once: Callable[[], Awaitable[None]]) -> None:
    """Fetch, and once more from the first byte if the digest is wrong.

    What an earlier host left may be damaged, so the first time proves nothing.

    Raises:
        ChecksumMismatch: If it is wrong again.
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
            f"{wrong} arrived twice with a wrong checksum: it is not the file that "
            f"was published.",
            "Something on this network alters downloads: try from another one, or "
            "set the proxy variables of this one.",
        ) from wrong


def refused_status(error: BaseException) -> int:
    """Return the HTTP status that a failed ``fetch`` was refused with, else 0."""
    cause = error.__cause__
    return cause.status if isinstance(cause, HTTPStatusError) else 0
