"""The engine component: the upstream that it sets in the gateway."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spicy_avocado_magic.config.settings import Endpoints, Settings
from spicy_avocado_magic.daemon.components.engine import EngineComponent
from spicy_avocado_magic.daemon.restart_loop import Readiness
from spicy_avocado_magic.daemon.state_store import StateStore
from spicy_avocado_magic.errors import EngineFailed
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.protocol.state_folder import StateFolder


async def test_a_new_life_is_waited_for_from_its_beginning(tmp_path: Path) -> None:
    """Also while it is still being installed, after the last one was given up."""
    upstreams: list[str | None] = []
    gateway: Any = SimpleNamespace(set_upstream=upstreams.append)
    context: Any = SimpleNamespace(
        settings=Settings(sources=Endpoints(engine_path=str(tmp_path / "none"))),
        folder=StateFolder(tmp_path),
        store=StateStore(State()),
    )
    with pytest.raises(EngineFailed, match="not an Ollama program"):
        await EngineComponent(context, gateway).run(Readiness())
    assert upstreams == [None]
