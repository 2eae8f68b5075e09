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


def test_the_wanted_port_is_used_if_it_is_free(unused_tcp_port: int) -> None:
    """Tools expect Ollama on its default port."""
    assert free_port(unused_tcp_port) == unused_tcp_port


def test_a_taken_port_is_replaced() -> None:
    """Another free port is used."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        assert free_port(taken) not in (0, taken)


def test_no_free_port_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The remedy says what to do."""

    def refuse(*_: Any) -> None:
        raise OSError

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(EngineFailed, match="No port is free"):
        free_port(0)


def test_only_the_listening_process_counts_for_a_port() -> None:
    """A connection from it, another port and another process do not count."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert is_listening(os.getpid(), port)
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert not is_listening(os.getpid(), client.getsockname()[1])
        child = [sys.executable, "-c", "input()"]
        with subprocess.Popen(child, stdin=subprocess.PIPE) as other_process:
            assert not is_listening(other_process.pid, port)
            other_process.kill()
        assert not is_listening(other_process.pid, port), "one that is gone listens"


def test_a_process_with_hidden_sockets_counts_as_listening(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on macOS, where only root sees other processes' sockets."""

    def hidden(*_: Any) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "net_connections", hidden, raising=False)
    monkeypatch.setattr(psutil.Process, "connections", hidden, raising=False)
    assert is_listening(os.getpid(), 1)
