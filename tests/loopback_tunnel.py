"""A second tunnel provider: its public URL is another port of this machine."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from urllib.parse import urlsplit

from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.protocol.state_folder import write_private
from spicy_avocado_magic.rehearsal.fake_ngrok.session_protocol import splice
from spicy_avocado_magic.tunnel.provider import Tunnel, TunnelEvents, TunnelProvider


class LoopbackTunnel(Tunnel):
    """Copies the bytes of each connection to the gateway and back."""

    def __init__(self, events: TunnelEvents) -> None:
        self._events = events
        self._server: asyncio.Server | None = None

    async def connect(
        self,
        upstream_url: str,
        *,
        domain: str = "",
        pool: bool = False,
        traffic_policy: str = "",
    ) -> str:
        """Listen on a free port and return its URL."""
        upstream = urlsplit(upstream_url)

        async def forward(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            with contextlib.suppress(OSError):
                there = await asyncio.open_connection(upstream.hostname, upstream.port)
                await splice((reader, writer), there)

        self._server = await asyncio.start_server(forward, "127.0.0.1", 0)
        self._events.on_line("the loopback tunnel is open")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def is_healthy(self) -> bool:
        """Return whether it listens."""
        return self._server is not None and self._server.is_serving()

    async def wait_exit(self) -> None:
        """Wait for ever: no process can end."""
        await asyncio.Event().wait()

    async def close(self, grace_s: float) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()


class LoopbackProvider(TunnelProvider):
    """Implements what a provider must, and inherits the rest."""

    def create_tunnel(
        self,
        *,
        program: str,
        config_path: Path,
        timeouts: Timeouts,
        events: TunnelEvents,
    ) -> LoopbackTunnel:
        """Return a tunnel that is not open yet."""
        return LoopbackTunnel(events)

    def write_config(self, path: Path, token: str, edge_address: str = "") -> None:
        """Store the token."""
        write_private(path, token)

    def read_token(self, path: Path) -> str:
        """Return the token."""
        return path.read_text()
