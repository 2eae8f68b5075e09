"""The engine's port on loopback: one that is free, and whose it is."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

import psutil

from ..errors import EngineFailed

USUAL_PORT: Final = 11434
"""Where tools look for Ollama (https://docs.ollama.com/faq)."""


def free_port(wanted: int) -> int:
    """Return ``wanted`` if it is free on loopback, else any port that is.

    Raises:
        EngineFailed: If there is none.
    """
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise EngineFailed(
        "No port is free on this machine.", "End programs that hold very many."
    )


def is_listening(pid: int, port: int) -> bool:
    """Whether this process listens there; True where we may not see. Blocking."""
    try:
        process = psutil.Process(pid)
        # Renamed in psutil 6; Colab has 5.9.5.
        name = "net_connections" if psutil.version_info >= (6,) else "connections"
        connections = getattr(process, name)("tcp4")
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    return any(
        connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        for connection in connections
    )
