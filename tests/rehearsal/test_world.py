"""The world opens whole, points at itself, and leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import aiohttp
import pytest

from spicy_avocado_magic.rehearsal.world import RehearsalWorld

from .conftest import call


def _left_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_the_world_has_all_that_the_product_needs(tmp_path: Path) -> None:
    """Releases, models, an edge and an agent, all on loopback."""
    world = RehearsalWorld(tmp_path / "world")
    await world.start()
    try:
        sources = world.endpoints()
        assert sources.rehearsal
        assert (await call(f"{sources.releases_url}/latest")).status == 302
        manifest = f"http://{sources.registry}/v2/library/llama3/manifests/latest"
        assert (await call(manifest)).status == 200
        assert os.access(sources.tunnel_program, os.X_OK), "it cannot be run"
        for address in (sources.registry, sources.edge_address):
            assert address.startswith("127.0.0.1:"), f"{address} is not loopback"
    finally:
        await world.close()


async def test_a_closed_world_is_gone(tmp_path: Path) -> None:
    """Ports and files are free again; closing twice does no harm."""
    world = RehearsalWorld(tmp_path / "world")
    await world.start()
    registry = world.endpoints().registry
    await world.close()
    await world.close()
    with pytest.raises(aiohttp.ClientConnectionError):
        await call(f"http://{registry}/v2/")
    assert not _left_in(tmp_path / "world")
