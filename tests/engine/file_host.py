"""A file host that can be told to misbehave."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(slots=True)
class FileHost:
    """Serves one file; each list entry or bound is one way to misbehave."""

    content: bytes
    cut_after: list[int] = field(default_factory=list)
    """Bytes after which a connection is cut; one entry for each connection."""
    stall_after: list[int] = field(default_factory=list)
    """Bytes after which a connection stands still; one for each connection."""
    statuses: list[int] = field(default_factory=list)
    """Answers in place of the file, one for each request."""
    knows_ranges: bool = True
    announced: int | None = None
    """Content-Length in place of the true one."""
    ranges: list[str] = field(default_factory=list)
    """The Range header of each request, empty where there was none."""

    def application(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        app.router.add_get("/file", self._give)
        return app

    async def _give(self, request: web.Request) -> web.StreamResponse:
        self.ranges.append(request.headers.get("Range", ""))
        if self.statuses:
            return web.Response(status=self.statuses.pop(0))
        start, size = 0, len(self.content)
        if self.knows_ranges and self.ranges[-1]:
            start = request.http_range.start or 0
        if start >= size:
            end = {"Content-Range": f"bytes */{size}"}
            return web.Response(status=416, headers=end, text="too far")
        response = web.StreamResponse(status=206 if start else 200)
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        announced = size - start if self.announced is None else self.announced
        response.content_length = announced
        await response.prepare(request)
        rest = self.content[start:]
        if self.stall_after:
            await response.write(rest[: self.stall_after.pop(0)])
            await asyncio.sleep(30)
        if self.cut_after:
            await response.write(rest[: self.cut_after.pop(0)])
            # A client drops what it has not read when the connection is cut.
            await asyncio.sleep(0.02)
            assert request.transport is not None
            request.transport.close()
            return response
        await response.write(rest)
        return response
