"""Slow downloads from the rehearsal's release host and registry."""

from __future__ import annotations

from asyncio import sleep
from typing import Final

from aiohttp import web

from spicy_avocado_magic.rehearsal.fake_downloads import ranges

from .faults import active_faults

_PIECE_S: Final = 0.05
"""A slow reply comes in pieces of this many seconds."""

_write_at_once = ranges.write_chunks


async def write_slowly(response: web.StreamResponse, content: memoryview) -> None:
    """Write a body at the rate of the fault ``bytes_s``, at once without it."""
    bytes_s = float(active_faults().get("bytes_s", 0))
    if not bytes_s:
        await _write_at_once(response, content)
        return
    step = max(1, int(bytes_s * _PIECE_S))
    for offset in range(0, len(content), step):
        await response.write(content[offset : offset + step])
        await sleep(_PIECE_S)


def install() -> None:
    """Let every stand-in host of this process write slowly."""
    ranges.write_chunks = write_slowly
