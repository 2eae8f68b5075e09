"""The engine's port: free, and its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

import psutil
import pytest

from spicy_avocado_magic.engine.ollama_process import free_port, is_listening
from spicy_avocado_magic.errors import EngineFailed


def test_a_free_port_is_as_wanted(unused_tcp_port: int) -> None:
    """Tools look in the usual place."""
    assert free_port(unused_tcp_port) == unused_tcp_port


def test_a_taken_port_is_replaced() -> None:
    """Its owner keeps it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        assert free_port(taken) not in (0, taken)


def test_no_free_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do about it."""

    def refuse(*_: Any) -> None:
        raise OSError

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(EngineFailed, match="No port is free"):
        free_port(0)


def test_a_port_is_known_by_who_listens_on_it() -> None:
    """A connection from it, another port and another process do not count."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert is_listening(os.getpid(), port)
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert not is_listening(os.getpid(), client.getsockname()[1])
        child = [sys.executable, "-c", "input()"]
        with subprocess.Popen(child, stdin=subprocess.PIPE) as stranger:
            assert not is_listening(stranger.pid, port)
            stranger.kill()
        assert not is_listening(stranger.pid, port), "one that is gone listens"


def test_what_may_not_be_seen_is_taken_for_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on macOS, where only root sees other processes' sockets."""

    def hidden(*_: Any) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "net_connections", hidden, raising=False)
    monkeypatch.setattr(psutil.Process, "connections", hidden, raising=False)
    assert is_listening(os.getpid(), 1)
