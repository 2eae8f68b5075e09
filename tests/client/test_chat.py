"""Asking a model: what is sent, what is yielded, and every way in which it fails."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from spicy_avocado_magic.client.chat import (
    ChatChunk,
    ChatRequest,
    first_model,
    require_running,
    stream_chat,
)
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.errors import (
    AvocadoError,
    EngineFailed,
    GatewayFailed,
    UsageError,
)
from spicy_avocado_magic.protocol.state import ModelState, State
from tests.machine_speed import scaled

QUESTION = ChatRequest(model="tiny", prompt="Why?", system="Be brief.")
POLICY = Timeouts(upstream_connect_s=2.0, silence_s=5.0)


@dataclass
class Service:
    """Stands in for the gateway: answers as told, notes what it was sent."""

    status: int = 200
    lines: tuple[Any, ...] = ()
    holds: bool = False
    """Whether the answer stays open after its lines."""
    holds_s: float = 10.0
    """For how long at most; it breaks off then."""
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    """Set once the caller has gone while the answer was open."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set once nothing more is sent."""
    url: str = ""

    @property
    def state(self) -> State:
        """What the host would say of it."""
        models = (ModelState(name="tiny"), ModelState(name="qwen3:8b"))
        return State(pid=1, local_url=self.url, api_key="the-key-1", models=models)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        self.asked.append((handler.path, dict(handler.headers), body))
        handler.send_response(self.status)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for line in self.lines:
            text = (line if isinstance(line, str) else json.dumps(line)) + "\n"
            handler.wfile.write(f"{len(text.encode()):x}\r\n{text}\r\n".encode())
        if self.holds:
            handler.connection.settimeout(self.holds_s)
            with contextlib.suppress(OSError):
                if not handler.connection.recv(1):
                    self.left.set()
            handler.close_connection = True
            self.over.set()
            return
        handler.wfile.write(b"0\r\n\r\n")


@pytest.fixture
def service() -> Iterator[Service]:
    """A service on loopback."""
    made = Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            made.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        made.url = f"http://127.0.0.1:{server.server_port}"
        yield made
        server.shutdown()
        thread.join()


def said(text: str) -> dict[str, Any]:
    """Return a line of ``/api/chat``."""
    return {"message": {"role": "assistant", "content": text}, "done": False}


DONE = {
    "message": {"content": ""},
    "done": True,
    "eval_count": 12,
    "eval_duration": 2_000_000_000,
}


def test_the_answer_comes_piece_by_piece(service: Service) -> None:
    """With thoughts apart, and a count at its end."""
    thinking = {"message": {"thinking": "hm"}, "done": False}
    service.lines = (thinking, "", said("Be"), said("cause"), DONE, said("never read"))
    pieces = list(stream_chat(service.state, QUESTION, POLICY))
    assert pieces == [
        ChatChunk(thought="hm"),
        ChatChunk(text="Be"),
        ChatChunk(text="cause"),
        ChatChunk(tokens=12, seconds=2.0),
    ]
    ((path, headers, body),) = service.asked
    assert path == "/api/chat"
    assert headers["Authorization"] == "Bearer the-key-1"
    assert body == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Why?"},
        ],
        "stream": True,
    }


def test_a_proxy_of_the_environment_is_not_asked(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows nothing of this machine's loopback."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    service.lines = (said("Hi"), DONE)
    assert len(list(stream_chat(service.state, QUESTION, POLICY))) == 2


def test_who_stops_listening_closes_the_connection(service: Service) -> None:
    """By which the gateway knows that the engine may stop."""
    service.lines, service.holds = (said("Once"),), True
    pieces = stream_chat(service.state, QUESTION, POLICY)
    assert next(pieces).text == "Once"
    pieces.close()
    assert service.left.wait(scaled(5)), "the connection stays open: the engine goes on"


@pytest.mark.parametrize(
    ("model", "remedy"), [("tinny", "Did you mean tiny?"), ("zzz", "It has tiny, ")]
)
def test_an_unknown_model_is_told_with_the_nearest(
    service: Service, model: str, remedy: str
) -> None:
    """Or with those that there are."""
    service.status, service.lines = 404, ({"error": "model not found"},)
    with pytest.raises(UsageError) as caught:
        list(stream_chat(service.state, ChatRequest(model=model, prompt="?"), POLICY))
    assert caught.value.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("status", "line", "kind", "told"),
    [
        (503, {"error": "the model is still loading"}, GatewayFailed, "still loading"),
        (429, {"error": {"message": "wait a bit"}}, GatewayFailed, "wait a bit"),
        (400, {"error": "tiny does not support chat"}, EngineFailed, "support chat"),
        (500, "<html>\x1b[31mbad", EngineFailed, "<html>bad"),
        (200, {"error": "out of memory"}, EngineFailed, "out of memory"),
        (200, said("cut"), EngineFailed, "was cut off"),
        (200, "{no json", EngineFailed, "was cut off"),
        (200, "[]", EngineFailed, "was cut off"),
    ],
)
def test_each_failure_says_what_was_said(
    service: Service, status: int, line: Any, kind: type[AvocadoError], told: str
) -> None:
    """Before the first word and after it; control characters are stripped."""
    service.status, service.lines = status, (line,)
    with pytest.raises(kind) as caught:
        list(stream_chat(service.state, QUESTION, POLICY))
    assert told in caught.value.problem
    assert "\x1b" not in str(caught.value)


def test_a_service_that_does_not_answer_is_told(service: Service) -> None:
    """In two lines, not in one of urllib3's."""
    state = State(pid=1, local_url="http://127.0.0.1:1")
    with pytest.raises(GatewayFailed, match="does not answer"):
        list(stream_chat(state, QUESTION, POLICY))


def test_where_nothing_runs_the_remedy_is_an_up() -> None:
    """Also where a gateway is not there yet."""
    for state in (None, State(), State(pid=1)):
        with pytest.raises(UsageError, match="%avocado_up"):
            require_running(state)


def test_the_first_model_is_asked_where_none_is_named(service: Service) -> None:
    """Of several."""
    assert first_model(service.state) == "tiny"
    assert first_model(State()) == ""


def test_the_answer_is_read_to_its_end(service: Service) -> None:
    """One who hangs up after the last line is counted as gone, by status 499."""
    service.lines, service.holds, service.holds_s = (DONE,), True, 0.2
    assert list(stream_chat(service.state, QUESTION, POLICY)) == [
        ChatChunk(tokens=12, seconds=2.0)
    ]
    assert service.over.wait(scaled(5))
    assert not service.left.is_set(), "the caller hung up"
