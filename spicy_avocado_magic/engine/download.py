"""Fetch one large file over a network that breaks: resumed, hashed, verified."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp

from ..errors import ComponentFailed, DownloadFailed
from ..policy import Policy
from .connections import (
    READ_BYTES,
    TRANSIENT_STATUSES,
    StatusRefused,
    failures_of,
    open_session,
)
from .disk import disk_full
from .part import Part
from .patience import Interrupted, keep_trying

_OK, _PARTIAL, _RANGE_PAST_END = 200, 206, 416
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


async def fetch(
    url: str,
    destination: Path,
    *,
    size: int | None = None,
    sha256: str | None = None,
    policy: Policy,
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
        policy: The waits.
        on_progress: Told bytes done and bytes in total, the latter 0 if unknown.

    Raises:
        NetworkUnreachable: If the server cannot be reached.
        DownloadFailed: If it does not send this file, or not whole.
        DiskTooSmall: If it does not fit; before the first byte where size is known.
    """
    part = await asyncio.to_thread(Part, destination, size, sha256)
    try:
        if part.size is None or part.done < part.size:
            await keep_trying(
                lambda: _attempt(url, part, policy, on_progress),
                position=lambda: part.done,
                policy=policy,
            )
        await asyncio.to_thread(part.place)
    except OSError as error:
        full = disk_full(destination.parent, error)
        if full is None:
            raise
        raise full from error
    finally:
        part.close()
    on_progress(part.done, part.done)


def refused_status(error: BaseException) -> int:
    """Return the HTTP status that a failed ``fetch`` was refused with, else 0."""
    cause = error.__cause__
    return cause.status if isinstance(cause, StatusRefused) else 0


async def _attempt(
    url: str, part: Part, policy: Policy, on_progress: Callable[[int, int], None]
) -> None:
    """Make one connection and take what it gives.

    Raises:
        Interrupted: If another attempt may bring the rest.
        DownloadFailed, DiskTooSmall: If none will.
    """
    headers = {"Accept-Encoding": "identity"}
    if part.done:
        headers["Range"] = f"bytes={part.done}-"
    with _interruptions_of(url):
        async with (
            open_session(url, policy) as session,
            session.get(url, headers=headers) as response,
        ):
            total = await _accept(response, part)
            await asyncio.to_thread(part.announce, total)
            on_progress(part.done, part.size or 0)
            if part.done == part.size:
                return
            async for chunk in response.content.iter_chunked(READ_BYTES):
                await asyncio.to_thread(part.write, chunk)
                on_progress(part.done, part.size or 0)
    if part.size is not None and part.done < part.size:
        raise Interrupted(
            DownloadFailed(
                f"{url} ended after {part.done} of {part.size} bytes.",
                "Run %avocado_up again: it resumes where it was.",
            )
        )


async def _accept(response: aiohttp.ClientResponse, part: Part) -> int | None:
    """Match an answer with the part; return the whole file's size, if it is told.

    Raises:
        Interrupted: If the answer is of no use but the next one may be.
        DownloadFailed: If the server will not send the file.
    """
    host = response.url.host or ""
    told = response.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.match(told)
    if response.status == _OK:
        if part.done:
            await asyncio.to_thread(part.restart)
        return response.content_length
    if response.status == _PARTIAL and match and int(match[1]) == part.done:
        return None if match[2] == "*" else int(match[2])
    if response.status == _RANGE_PAST_END and told == f"bytes */{part.done}":
        return part.done
    if response.status in (_PARTIAL, _RANGE_PAST_END):
        await asyncio.to_thread(part.restart)
        raise Interrupted(_refusal(host, response.status))
    refused = _refusal(host, response.status)
    if response.status in TRANSIENT_STATUSES:
        raise Interrupted(refused)
    raise refused from StatusRefused(response.status)


def _refusal(host: str, status: int) -> DownloadFailed:
    return DownloadFailed(
        f"{host} does not send the file (HTTP {status}).",
        "Try again later; if it stays so, check the version or name you asked for.",
    )


@contextlib.contextmanager
def _interruptions_of(url: str) -> Iterator[None]:
    """Mark failures of the connection, and only those, as worth another attempt."""
    try:
        with failures_of(url):
            yield
    except ComponentFailed as error:
        if isinstance(error.__cause__, aiohttp.ClientError | OSError):
            raise Interrupted(error) from error
        raise
