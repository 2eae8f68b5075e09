"""A file host that misbehaves as configured."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

_PIECE_BYTES = 1 << 18


@dataclass(slots=True)
class FileHost:
    """Serves one file; each list entry or bound is one way to misbehave."""

    content: bytes
    cut_after: list[int] = field(default_factory=list)
    """Bytes after which a connection is cut; one entry for each connection."""
    stall_after: list[int] = field(default_factory=list)
    """Bytes after which a connection stands still; one for each connection."""
    trickling: set[int] = field(default_factory=set)
    """Numbers of the requests that get a few bytes at a time, from 0."""
    holding: dict[int, asyncio.Event] = field(default_factory=dict)
    """Requests that get nothing until an event, by their numbers."""
    statuses: list[int] = field(default_factory=list)
    """Answers in place of the file, one for each request."""
    most_at_once: int = 1000
    """Requests beyond these are refused with 429."""
    good_for: int = 1000
    """Requests after so many are refused with 403."""
    takes_s: float = 0.0
    """Seconds before an answer's first byte."""
    retry_after: str = "0"
    """What a refusal asks for."""
    knows_ranges: bool = True
    forgets_ranges: set[int] = field(default_factory=set)
    """Numbers of the requests that get the whole file in place of a range."""
    ignores_ends: bool = False
    """Whether a range goes on to the end of the file, whatever was asked for."""
    shifted_by: int = 0
    """How far the range in an answer is from the one that was asked for."""
    announced: int | None = None
    """Content-Length in place of the true one."""
    is_chunked: bool = False
    """Whether Content-Length is omitted."""
    leads_to: Callable[[], str] | None = None
    """Where every request is redirected to."""
    ranges: list[str] = field(default_factory=list)
    """The Range header of each request, empty where there was none."""
    authorizations: list[str] = field(default_factory=list)
    """The Authorization header of each request."""
    sent: int = 0
    """Bytes of the file that were sent, over all connections."""
    active: int = 0
    busiest: int = 0
    """The most requests that were served at once."""
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something that requests bring about."""
        while not is_so():
            self._news.clear()
            await self._news.wait()

    def application(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        app.router.add_get("/file", self.answer)
        return app

    @property
    def starts(self) -> list[int]:
        """Where the ranges begin that were asked for."""
        return [int(text[6:].split("-")[0]) for text in self.ranges if text]

    @property
    def stops(self) -> list[int]:
        """Where they end."""
        return [int(text.split("-")[1]) + 1 for text in self.ranges if text]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Give the file, or what is to happen in its place."""
        number = len(self.ranges)
        self.ranges.append(request.headers.get("Range", ""))
        self.authorizations.append(request.headers.get("Authorization", ""))
        self.active += 1
        self.busiest = max(self.busiest, self.active)
        self._news.set()
        try:
            return await self._answer(request, number)
        finally:
            self.active -= 1

    async def _answer(self, request: web.Request, number: int) -> web.StreamResponse:
        asked = {"Retry-After": self.retry_after}
        if self.statuses:
            return web.Response(status=self.statuses.pop(0), headers=asked)
        if number >= self.good_for:
            return web.Response(status=403)
        if self.active > self.most_at_once:
            return web.Response(status=429, headers=asked)
        if self.leads_to is not None:
            raise web.HTTPFound(self.leads_to())
        start, stop, size = 0, len(self.content), len(self.content)
        is_range = self.knows_ranges and bool(self.ranges[number])
        is_range = is_range and number not in self.forgets_ranges
        if is_range:
            start, stop, _ = request.http_range.indices(size)
            stop = size if self.ignores_ends else stop
        if start >= size:
            end = {"Content-Range": f"bytes */{size}"}
            return web.Response(status=416, headers=end, text="too far")
        response = web.StreamResponse(status=206 if is_range else 200)
        if is_range:
            content_range = f"bytes {start + self.shifted_by}-{stop - 1}/{size}"
            response.headers["Content-Range"] = content_range
        if not self.is_chunked:
            length = stop - start if self.announced is None else self.announced
            response.content_length = length
        await response.prepare(request)
        await self._send(request, response, self.content[start:stop], number)
        return response

    async def _send(
        self,
        request: web.Request,
        response: web.StreamResponse,
        content: bytes,
        number: int,
    ) -> None:
        await asyncio.sleep(self.takes_s)
        if number in self.holding:
            await self.holding[number].wait()
        if number in self.trickling:
            for at in range(0, len(content), 10):
                await self._write(response, content[at : at + 10])
                await asyncio.sleep(0.01)
            return
        if self.stall_after:
            await self._write(response, content[: self.stall_after.pop(0)])
            await asyncio.sleep(30)
        if self.cut_after:
            await self._write(response, content[: self.cut_after.pop(0)])
            # A client drops what it has not read when the connection is cut.
            await asyncio.sleep(0.02)
            assert request.transport is not None
            request.transport.close()
            return
        for at in range(0, len(content), _PIECE_BYTES):
            await self._write(response, content[at : at + _PIECE_BYTES])

    async def _write(self, response: web.StreamResponse, piece: bytes) -> None:
        await response.write(piece)
        self.sent += len(piece)
        self._news.set()
