"""Downloads at the rate of a fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from spicy_avocado_magic.rehearsal.fake_downloads import ranges

from . import downloads
from .faults import VARIABLE

CONTENT = bytes(range(256)) * 4096


async def test_a_slow_download_pauses_between_its_pieces(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The pauses add up to the time that the rate makes the download take."""
    faults = tmp_path / "faults.json"
    faults.write_text(f'{{"bytes_s": {len(CONTENT) * 5}}}')
    monkeypatch.setenv(VARIABLE, str(faults))
    monkeypatch.setattr(ranges, "write_chunks", ranges.write_chunks)
    downloads.install()
    paused_s: list[float] = []

    async def pause(seconds: float) -> None:
        paused_s.append(seconds)

    monkeypatch.setattr(downloads, "sleep", pause)

    async def give(request: web.Request) -> web.StreamResponse:
        return await ranges.serve_bytes(request, CONTENT, etag="one")

    app = web.Application()
    app.router.add_get("/", give)
    async with TestClient(TestServer(app)) as client:
        response = await client.get("/")
        assert await response.read() == CONTENT, "other bytes than at full speed"
    assert sum(paused_s) == pytest.approx(0.2), f"it paused for {paused_s}"
