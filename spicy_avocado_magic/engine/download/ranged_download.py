"""Download of a file in ranges over several connections at once."""

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
"""File hosts limit the rate of each connection; Ollama's own puller opens 16."""

_OK, _PARTIAL, _RANGE_PAST_END = 200, 206, 416
_OVERLOADED: Final = frozenset({429, 503})
_LINK_EXPIRED: Final = frozenset({401, 403, 404, 410})
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class _TooManyConnections(Exception):
    """The server refuses this many connections."""

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
    """Complete a partial file; its size is known afterwards.

    The first request finds out the target of redirects, the size, and whether the
    server supports ranges. If so, more connections join, each with a segment of a
    bounded window. A connection that stalls or is far too slow is replaced, one that
    breaks continues where it stopped, one that the server refuses pauses. Bytes are
    written in order.

    Raises:
        NetworkUnreachable: If the server cannot be reached.
        DownloadFailed: If it does not send this file.
        DiskTooSmall: If it does not fit; before the first byte where size is known.
        OSError: If it cannot be written.
    """
    async with open_session(url, timeouts) as session:
        await _Transfer(url, part, session, timeouts, on_progress).run()


class _Transfer:
    """One call of ``download_ranges``."""

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
        self._detector = SlowConnectionDetector(
            timeouts.slow_s, asyncio.get_running_loop().time
        )
        self._writing = asyncio.Lock()
        self._has_ranges = asyncio.Event()
        self._is_whole_file = False
        """Whether the server supports no ranges."""
        self._active = 0

    async def run(self) -> None:
        workers = [self._work(is_first=index == 0) for index in range(CONNECTIONS)]
        tasks = [asyncio.create_task(c) for c in (self._detector.watch(), *workers)]
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
        """Fetch one segment after the other."""
        if not is_first:
            await self._has_ranges.wait()
        while (segment := await self._window.claim()) is not None:
            pause_s = 0.0
            self._active += 1
            try:
                await retry_while_progressing(
                    lambda segment=segment: self._fetch(segment),  # type: ignore[misc]
                    position=lambda: self._window.received,
                    timeouts=self._timeouts,
                )
            except _TooManyConnections as refusal:
                self._window.give_back(segment)
                pause_s = max(refusal.pause_s, self._timeouts.backoff_max_s)
            finally:
                self._active -= 1
            await asyncio.sleep(pause_s)

    async def _fetch(self, segment: Segment) -> None:
        """Fetch the rest of a segment.

        Raises:
            RetryableError: If another attempt may succeed.
            AvocadoError: If none will.
        """
        is_answered = False
        while not is_answered:
            with contextlib.suppress(ConnectionTooSlow), self._retryable_failures():
                async with self._detector.metered() as meter:
                    await self._request(segment, meter)
                is_answered = True
        if not segment.is_whole:
            raise RetryableError(
                DownloadFailed(
                    f"{self._url} ended after {self._window.received} of "
                    f"{self._window.size} bytes.",
                    "Run %avocado_up again: the download is resumed.",
                )
            )

    async def _request(self, segment: Segment, meter: TransferMeter) -> None:
        headers = {"Accept-Encoding": "identity"}
        if not self._is_whole_file and segment.stop is not None:
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
        """Check that a response is for a segment.

        Raises:
            RetryableError: If it is of no use, but the next one may be.
            _TooManyConnections: If the server refuses this connection but has others.
            DownloadFailed: If the server will not send the file.
        """
        content_range = response.headers.get("Content-Range", "")
        match = _CONTENT_RANGE.fullmatch(content_range)
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
            await self._restart(segment, response.content_length)
            return
        is_past_end = content_range == f"bytes */{segment.position}"
        if response.status == _RANGE_PAST_END and is_past_end:
            await self._announce(segment.position)
            return
        if response.status in (_OK, _PARTIAL, _RANGE_PAST_END):
            self._is_whole_file = not is_open
            raise RetryableError(_status_error(response))
        self._refuse(response, address)

    def _refuse(self, response: aiohttp.ClientResponse, address: URL) -> None:
        status, error = response.status, _status_error(response)
        if status in _OVERLOADED and self._active > 1:
            raise _TooManyConnections(retry_after_s(response))
        if status in _LINK_EXPIRED and address != self._url:
            # The targets of redirects expire after minutes.
            if self._address == address:
                self._address = self._url
            raise RetryableError(error)
        if status in TRANSIENT_STATUSES:
            raise RetryableError(error, pause_s=retry_after_s(response))
        raise error from HTTPStatusError(status)

    async def _announce(self, total: int) -> None:
        await asyncio.to_thread(self._part.set_size, total)
        self._window.end_at(total)
        self._on_progress(self._window.received, total)

    async def _restart(self, segment: Segment, length: int | None) -> None:
        """Take the whole file from one response, as the server supports no ranges."""
        self._is_whole_file = True
        async with self._writing:
            if self._part.done:
                await asyncio.to_thread(self._part.restart)
            self._window.restart(segment, self._part.size)
        if length is not None:
            await self._announce(length)

    @contextlib.contextmanager
    def _retryable_failures(self) -> Iterator[None]:
        """Make failures of the connection, and only those, retryable."""
        try:
            with map_http_errors(str(self._url)):
                yield
        except ComponentFailed as error:
            if isinstance(error.__cause__, aiohttp.ClientError | OSError):
                raise RetryableError(error) from error
            raise


def _status_error(response: aiohttp.ClientResponse) -> DownloadFailed:
    return DownloadFailed(
        f"{response.url.host} does not send the file (HTTP {response.status}).",
        "Try again later; if that fails too, check the version or name you requested.",
    )
