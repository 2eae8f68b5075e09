"""HTTP responses of a file host: length, ETag, one byte range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs, web

_CHUNK_BYTES: Final = 256 * 1024


async def serve_bytes(
    request: web.Request,
    content: bytes,
    *,
    etag: str,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Answer GET or HEAD: 200, 206 for a range, 416 for one beyond the end.

    A range is ignored if ``If-Range`` names another version.
    """
    named = {hdrs.ETAG: f'"{etag}"', hdrs.ACCEPT_RANGES: "bytes", **(headers or {})}
    start, stop = 0, len(content)
    is_same = request.headers.get(hdrs.IF_RANGE, f'"{etag}"') == f'"{etag}"'
    if hdrs.RANGE in request.headers and is_same:
        try:
            start, stop, _ = request.http_range.indices(len(content))
        except ValueError:
            start = stop
        if start >= stop:
            beyond = {hdrs.CONTENT_RANGE: f"bytes */{len(content)}"}
            return web.Response(status=416, headers=beyond)
        named[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{len(content)}"
    status = 206 if hdrs.CONTENT_RANGE in named else 200
    response = web.StreamResponse(status=status, headers=named)
    response.content_length = stop - start
    if hdrs.CONTENT_TYPE not in named:
        response.content_type = "application/octet-stream"
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        await write_chunks(response, memoryview(content)[start:stop])
    await response.write_eof()
    return response


async def write_chunks(response: web.StreamResponse, content: memoryview) -> None:
    """Write a body in chunks, so that it is never copied whole."""
    for offset in range(0, len(content), _CHUNK_BYTES):
        await response.write(content[offset : offset + _CHUNK_BYTES])
