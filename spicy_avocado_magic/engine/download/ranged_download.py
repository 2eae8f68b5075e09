"""Bring a file's bytes over several connections at once, whatever they do."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Final

import aiohttp
from yarl import URL

from ...config.timeouts import Timeouts
from ...errors import ComponentFailed, DownloadFailed
from .http import (
    TRANSIENT_STATUSES,
    HTTPStatusError,
    map_http_errors,
    open_session,
    retry_after_s,
)
from .partial_file import PartialFile
from .retry import RetryableError, retry_while_progressing
from .slow_connections import ConnectionTooSlow, SlowConnectionDetector, TransferMeter
from .window import DownloadWindow, Segment

CONNECTIONS: Final = 12
"""File hosts cap each connection; Ollama's own puller opens 16."""

_OK, _PARTIAL, _RANGE_PAST_END = 200, 206, 416
_CROWDED: Final = frozenset({429, 503})
_LINK_EXPIRED: Final = frozenset({401, 403, 404, 410})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class _TooManyConnections(Exception):
    """The server wants fewer connections."""

    def __init__(self, pause_s: float) -> None:
        super().__init__(pause_s)
        self.pause_s = pause_s


async def download_ranges(
    url: str,
    part: PartialFile,
    *,
    timeouts: Timeouts,
    on_progress: Callable[[int, int], None],
) -> None:
    """Bring what a part lacks; it is written in order, and its size is known then.

    The first request learns where redirects lead, the size, and whether the server
    knows ranges; where it does, more connections join, each with a segment of a
    bounded window. One that stalls or collapses is replaced, one that is cut goes
    on where it was, one that the server does not want rests.

    Raises:
        NetworkUnreachable: If the server cannot be reached.
        DownloadFailed: If it does not send this file.
        DiskTooSmall: If it does not fit; before the first byte where size is known.
        OSError: If the disk does not take it.
    """
    async with open_session(url, timeouts) as session:
        await _Transfer(url, part, session, timeouts, on_progress).run()


class _Transfer:
    def __init__(
        self,
        url: str,
        part: PartialFile,
        session: aiohttp.ClientSession,
        timeouts: Timeouts,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._url = self._address = URL(url)
        self._part = part
        self._session = session
        self._timeouts = timeouts
        self._on_progress = on_progress
        self._window = DownloadWindow(part.done, part.size)
        self._pace = SlowConnectionDetector(
            timeouts.slow_s, asyncio.get_running_loop().time
        )
        self._writing = asyncio.Lock()
        self._has_ranges = asyncio.Event()
        self._is_plain = False
        """Whether the server sends nothing but the whole file."""
        self._active = 0

    async def run(self) -> None:
        workers = [self._work(is_first=index == 0) for index in range(CONNECTIONS)]
        tasks = [asyncio.create_task(one) for one in (self._pace.watch(), *workers)]
        for task in tasks:
            task.add_done_callback(self._propagate_failure)
        try:
            while await self._window.readable():
                async with self._writing:
                    chunks = self._window.take()
                    await asyncio.to_thread(self._write, chunks)
                    self._window.written(sum(map(len, chunks)))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _propagate_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._window.fail(error)

    def _write(self, chunks: list[bytes]) -> None:
        self._part.write(b"".join(chunks))

    async def _work(self, *, is_first: bool) -> None:
        """Bring one segment after the other."""
        if not is_first:
            await self._has_ranges.wait()
        while (segment := await self._window.claim()) is not None:
            rest_s = 0.0
            self._active += 1
            try:
                await retry_while_progressing(
                    lambda segment=segment: self._bring(segment),  # type: ignore[misc]
                    position=lambda: self._window.received,
                    timeouts=self._timeouts,
                )
            except _TooManyConnections as crowded:
                self._window.give_back(segment)
                rest_s = max(crowded.pause_s, self._timeouts.backoff_max_s)
            finally:
                self._active -= 1
            await asyncio.sleep(rest_s)

    async def _bring(self, segment: Segment) -> None:
        """Bring the rest of a segment.

        Raises:
            Interrupted: If another attempt may do better.
            AvocadoError: If none will.
        """
        is_answered = False
        while not is_answered:
            with contextlib.suppress(ConnectionTooSlow), self._interruptions():
                async with self._pace.metered() as meter:
                    await self._request(segment, meter)
                is_answered = True
        if not segment.is_whole:
            raise RetryableError(
                DownloadFailed(
                    f"{self._url} ended after {self._window.received} of "
                    f"{self._window.size} bytes.",
                    "Run %avocado_up again: it resumes where it was.",
                )
            )

    async def _request(self, segment: Segment, meter: TransferMeter) -> None:
        headers = {"Accept-Encoding": "identity"}
        if not self._is_plain and segment.stop is not None:
            headers["Range"] = f"bytes={segment.position}-{segment.stop - 1}"
        address = self._address
        async with self._session.get(address, headers=headers) as response:
            await self._accept(response, segment, address)
            while not segment.is_whole:
                await self._window.wait_for_capacity()
                chunk = await response.content.readany()
                if not chunk:
                    break
                if segment.stop is not None:
                    chunk = chunk[: segment.stop - segment.position]
                self._window.add(segment, chunk)
                meter.add(len(chunk))
                self._on_progress(self._window.received, self._window.size or 0)
        if segment.stop is None:
            await self._announce(segment.position)

    async def _accept(
        self, response: aiohttp.ClientResponse, segment: Segment, address: URL
    ) -> None:
        """Match an answer with a segment.

        Raises:
            Interrupted: If the answer is of no use but the next one may be.
            _Crowded: If others may go on but this connection is not wanted.
            DownloadFailed: If the server will not send the file.
        """
        told = response.headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(told)
        is_open = self._has_ranges.is_set()
        if response.status == _PARTIAL and match:
            start, last, total = map(int, match.groups())
            if start == segment.position <= last:
                await self._announce(total)
                if response.history:
                    self._address = response.url
                self._has_ranges.set()
                return
        if response.status == _OK and not is_open:
            await self._begin_anew(segment, response.content_length)
            return
        if response.status == _RANGE_PAST_END and told == f"bytes */{segment.position}":
            await self._announce(segment.position)
            return
        if response.status in (_OK, _PARTIAL, _RANGE_PAST_END):
            self._is_plain = not is_open
            raise RetryableError(_refusal(response))
        self._refuse(response, address)

    def _refuse(self, response: aiohttp.ClientResponse, address: URL) -> None:
        status, refused = response.status, _refusal(response)
        if status in _CROWDED and self._active > 1:
            raise _TooManyConnections(retry_after_s(response))
        if status in _LINK_EXPIRED and address != self._url:
            # Links that redirects lead to are good for minutes only.
            if self._address == address:
                self._address = self._url
            raise RetryableError(refused)
        if status in TRANSIENT_STATUSES:
            raise RetryableError(refused, pause_s=retry_after_s(response))
        raise refused from HTTPStatusError(status)

    async def _announce(self, total: int) -> None:
        await asyncio.to_thread(self._part.set_size, total)
        self._window.end_at(total)
        self._on_progress(self._window.received, total)

    async def _begin_anew(self, segment: Segment, length: int | None) -> None:
        """Take the whole file from one answer, since the server knows no ranges."""
        self._is_plain = True
        async with self._writing:
            if self._part.done:
                await asyncio.to_thread(self._part.restart)
            self._window.restart(segment, self._part.size)
        if length is not None:
            await self._announce(length)

    @contextlib.contextmanager
    def _interruptions(self) -> Iterator[None]:
        """Mark failures of the connection, and only those, as worth another try."""
        try:
            with map_http_errors(str(self._url)):
                yield
        except ComponentFailed as error:
            if isinstance(error.__cause__, aiohttp.ClientError | OSError):
                raise RetryableError(error) from error
            raise


def _refusal(response: aiohttp.ClientResponse) -> DownloadFailed:
    return DownloadFailed(
        f"{response.url.host} does not send the file (HTTP {response.status}).",
        "Try again later; if it stays so, check the version or name you asked for.",
    )
