"""The real ngrok service, only where there is a token for it and a network."""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from spicy_avocado_magic import down

from .chat import stream_chat
from .home import Home, running_world

TOKEN = os.environ.get("NGROK_AUTHTOKEN", "")


def _has_network() -> bool:
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("connect.ngrok-agent.com", 443), timeout=5),
    ):
        return True
    return False


@pytest.mark.live
@pytest.mark.skipif(not TOKEN, reason="no NGROK_AUTHTOKEN: the live ngrok is not asked")
def test_the_live_service_carries_a_chat(home: Home, tmp_path: Path) -> None:
    """Real agent, real edge, loopback engine and registry: the URL is public."""
    if not _has_network():
        pytest.skip("connect.ngrok-agent.com cannot be reached from here")
    with running_world(tmp_path / "world") as world:
        live = replace(world, tunnel_program="", edge_address="")
        avocado = home.up("tiny", sources=live, token=TOKEN)
        assert avocado.url.startswith("https://"), avocado.url
        assert stream_chat(avocado.url, avocado.api_key)
        refused = requests.get(f"{avocado.url}/api/tags", timeout=30)
        assert refused.status_code == 401, "the public URL opens without a key"
        down()
