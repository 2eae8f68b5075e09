"""The client of the control socket, against daemons that misbehave."""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from spicy_avocado_magic.client.control_client import ControlClient
from spicy_avocado_magic.errors import (
    DaemonUnreachable,
    DaemonUnresponsive,
    ModelUnavailable,
    VersionMismatch,
)
from spicy_avocado_magic.protocol.control_messages import (
    CreateEvent,
    CreateMessage,
    UpMessage,
    UpReply,
)
from spicy_avocado_magic.protocol.json_codec import to_json
from spicy_avocado_magic.protocol.state import PROTOCOL, State
from tests.machine_speed import scaled


@contextlib.contextmanager
def answering(answer: bytes | None) -> Iterator[ControlClient]:
    """Answer one request with these bytes; None accepts it and stays silent."""
    with tempfile.TemporaryDirectory(prefix="avo-", dir="/tmp") as folder:
        path = Path(folder) / "control.sock"
        done = threading.Event()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()

            def serve() -> None:
                peer, _ = listener.accept()
                with peer:
                    asked = peer.recv(65536)
                    # Headers and body come apart; closing between would cut it.
                    while asked.startswith(b"POST") and not asked.endswith(b"}"):
                        asked += peer.recv(65536)
                    if answer is None:
                        done.wait(scaled(5))
                    else:
                        peer.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            yield ControlClient(path)
            done.set()
            thread.join()


def http(body: Any, *, status: str = "200 OK") -> bytes:
    """Return an HTTP answer with a JSON body."""
    text = json.dumps(body)
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n\r\n"
    return (head + text).encode()


CREATE = CreateMessage(name="mine", modelfile="FROM tiny", folder="/")


def test_a_state_is_received_as_it_was_sent() -> None:
    """Kernel and daemon have the same value."""
    state = State(pid=7, url="https://a.example")
    with answering(http(to_json(state))) as connection:
        assert connection.state() == state


def test_a_hung_daemon_is_reported_after_a_bounded_time() -> None:
    """A cell never hangs with the daemon."""
    with (
        answering(None) as connection,
        pytest.raises(DaemonUnresponsive, match="has not"),
    ):
        replace(connection, answer_s=0.2).state()


def test_a_silent_stream_is_reported_after_a_bounded_time() -> None:
    """Heartbeats arrive each second, so silence means a hung daemon."""
    with answering(None) as connection, pytest.raises(DaemonUnresponsive):
        list(replace(connection, answer_s=0.2).follow())


def test_a_daemon_that_has_ended_is_reported() -> None:
    """Nobody listens on the socket any more."""
    with pytest.raises(DaemonUnreachable, match="does not answer"):
        ControlClient(Path("/tmp/avo-nowhere.sock")).state()


def test_an_error_of_the_daemon_is_raised_with_its_class() -> None:
    """The kernel can catch it by its class."""
    failure = {
        "kind": "ModelUnavailable",
        "problem": "No such model.",
        "remedy": "Look.",
    }
    answer = http({"failure": failure}, status="400 Bad Request")
    with (
        answering(answer) as connection,
        pytest.raises(ModelUnavailable, match="No such"),
    ):
        connection.post("/up", UpMessage(given={}, only=False), UpReply)


def test_the_error_for_another_protocol_has_the_command_that_helps() -> None:
    """The package may be upgraded while the daemon runs."""
    state = to_json(State(pid=7)) | {"protocol": PROTOCOL + 1}
    with (
        answering(http(state)) as connection,
        pytest.raises(VersionMismatch, match="--restart"),
    ):
        connection.state()


def test_an_answer_that_is_not_json_is_an_error() -> None:
    """An older daemon may not know the request."""
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\n404: Not Found"
    with answering(answer) as connection, pytest.raises(DaemonUnreachable):
        list(connection.stream("/create", CREATE, CreateEvent))


def test_a_long_operation_is_streamed_line_by_line() -> None:
    """An error in the middle is raised with its class."""
    failure = {
        "kind": "ModelUnavailable",
        "problem": "No such model.",
        "remedy": "Look.",
    }
    lines = [{"text": "one"}, {"text": "two"}, {"failure": failure}]
    body = "".join(f"{json.dumps(line)}\n" for line in lines)
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
    with answering(answer) as connection:
        events = connection.stream("/create", CREATE, CreateEvent)
        assert [next(events).text, next(events).text] == ["one", "two"]
        with pytest.raises(ModelUnavailable, match="No such"):
            next(events)
