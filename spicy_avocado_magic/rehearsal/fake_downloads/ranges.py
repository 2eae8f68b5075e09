"""Bytes over HTTP as a file host serves them: length, ETag, one range."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Mapping
from typing import Final

from aiohttp import hdrs, web

from ..fault_injection import active_faults

_CHUNK_BYTES: Final = 256 * 1024
_PIECE_S: Final = 0.05
"""A slow reply comes in pieces of this many seconds."""


async def serve_bytes(
    request: web.Request,
    content: bytes,
    *,
    etag: str,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Answer GET or HEAD: 200, 206 for a range, 416 for one beyond the end.

    A range is passed over where ``If-Range`` names another version.
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
        await _write_paced(response, memoryview(content)[start:stop])
    await response.write_eof()
    return response


async def _write_paced(response: web.StreamResponse, content: memoryview) -> None:
    bytes_s = float(active_faults().get("bytes_s", 0))
    step = max(1, int(bytes_s * _PIECE_S)) if bytes_s else _CHUNK_BYTES
    for at in range(0, len(content), step):
        await response.write(content[at : at + step])
        if bytes_s:
            await sleep(_PIECE_S)
