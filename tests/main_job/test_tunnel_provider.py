"""The whole service behind a second tunnel provider."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import openai
import pytest

from spicy_avocado_magic import down
from spicy_avocado_magic.config.settings import Endpoints
from spicy_avocado_magic.protocol.state import Phase
from spicy_avocado_magic.protocol.state_folder import StateFolder

from .chat import stream_chat
from .home import PACKAGE_PARENT, Home

TOKEN = "loopback-token-0123456789"

REGISTER = f"""
import sys

if "spicy_avocado_magic.daemon" in sys.orig_argv:
    sys.path.append({str(PACKAGE_PARENT)!r})
    from spicy_avocado_magic.tunnel.registry import PROVIDERS
    from tests.loopback_tunnel import LoopbackProvider

    PROVIDERS["loopback"] = LoopbackProvider()
"""
"""Run by the daemon's Python at its start, before the daemon itself."""


def test_a_second_provider_brings_the_whole_service_up(
    home: Home, world: Endpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its URL is proved, chats, and is gone after down; no ngrok agent is started."""
    (tmp_path / "sitecustomize.py").write_text(REGISTER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    sources = replace(world, tunnel="loopback", tunnel_program="/nowhere/ngrok")
    avocado = home.up("tiny", sources=sources, token=TOKEN)
    assert "avocado" in stream_chat(avocado.url, avocado.api_key).lower()
    state = avocado.status()
    assert state is not None, "the daemon has no state"
    assert state.local_url != avocado.url, "the chat went past the tunnel"
    assert state.stage("probe").phase is Phase.READY, "the URL was not proved"
    assert state.traffic.public_requests >= 2, "the chat did not come by the tunnel"
    folder = StateFolder.find(rehearsal=False)
    assert folder.agent_config.read_text() == TOKEN
    assert "loopback tunnel is open" in folder.log("agent").read_text()
    (ended,) = down()
    assert set(ended.processes) == {"host", "engine"}, "an agent was started"
    with pytest.raises(openai.APIConnectionError):
        stream_chat(state.url, state.api_key)
