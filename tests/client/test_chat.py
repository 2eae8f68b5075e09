"""Streaming chat: the request, the chunks and every failure."""

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
TIMEOUTS = Timeouts(upstream_connect_s=2.0, silence_s=5.0)


@dataclass
class Service:
    """Stands in for the gateway: sends given answers and stores the requests."""

    status: int = 200
    lines: tuple[Any, ...] = ()
    holds: bool = False
    """Whether the answer stays open after its lines."""
    holds_s: float = 10.0
    """For how long at most, in seconds; then it is cut off."""
    asked: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    """Set when the client has closed the connection before the end."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set when the answer has ended."""
    url: str = ""

    @property
    def state(self) -> State:
        """State with this URL."""
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


def chunk(text: str) -> dict[str, Any]:
    """Return a line of ``/api/chat``."""
    return {"message": {"role": "assistant", "content": text}, "done": False}


DONE = {
    "message": {"content": ""},
    "done": True,
    "eval_count": 12,
    "eval_duration": 2_000_000_000,
}


def test_the_answer_is_yielded_in_chunks(service: Service) -> None:
    """Reasoning is separate, and the last chunk has the token count."""
    thinking = {"message": {"thinking": "hm"}, "done": False}
    service.lines = (
        thinking,
        "",
        chunk("Be"),
        chunk("cause"),
        DONE,
        chunk("never read"),
    )
    pieces = list(stream_chat(service.state, QUESTION, TIMEOUTS))
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


def test_a_proxy_of_the_environment_is_ignored(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot reach this machine's loopback."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    service.lines = (chunk("Hi"), DONE)
    assert len(list(stream_chat(service.state, QUESTION, TIMEOUTS))) == 2


def test_closing_the_generator_closes_the_connection(service: Service) -> None:
    """The gateway then cancels the request at the engine."""
    service.lines, service.holds = (chunk("Once"),), True
    pieces = stream_chat(service.state, QUESTION, TIMEOUTS)
    assert next(pieces).text == "Once"
    pieces.close()
    assert service.left.wait(scaled(5)), "the connection stays open: the engine goes on"


@pytest.mark.parametrize(
    ("model", "remedy"), [("tinny", "Did you mean tiny?"), ("zzz", "It has tiny, ")]
)
def test_an_unknown_model_gets_the_closest_match(
    service: Service, model: str, remedy: str
) -> None:
    """Without a similar name the error lists the models."""
    service.status, service.lines = 404, ({"error": "model not found"},)
    with pytest.raises(UsageError) as caught:
        list(stream_chat(service.state, ChatRequest(model=model, prompt="?"), TIMEOUTS))
    assert caught.value.remedy.startswith(remedy)


@pytest.mark.parametrize(
    ("status", "line", "kind", "message"),
    [
        (503, {"error": "the model is still loading"}, GatewayFailed, "still loading"),
        (429, {"error": {"message": "wait a bit"}}, GatewayFailed, "wait a bit"),
        (400, {"error": "tiny does not support chat"}, EngineFailed, "support chat"),
        (500, "<html>\x1b[31mbad", EngineFailed, "<html>bad"),
        (200, {"error": "out of memory"}, EngineFailed, "out of memory"),
        (200, chunk("cut"), EngineFailed, "was cut off"),
        (200, "{no json", EngineFailed, "was cut off"),
        (200, "[]", EngineFailed, "was cut off"),
    ],
)
def test_each_failure_shows_the_message_of_the_service(
    service: Service, status: int, line: Any, kind: type[AvocadoError], message: str
) -> None:
    """Before and after the first chunk, without control characters."""
    service.status, service.lines = status, (line,)
    with pytest.raises(kind) as caught:
        list(stream_chat(service.state, QUESTION, TIMEOUTS))
    assert message in caught.value.problem
    assert "\x1b" not in str(caught.value)


def test_a_service_that_does_not_answer_is_an_error_of_ours(service: Service) -> None:
    """The user does not see an exception of urllib3."""
    state = State(pid=1, local_url="http://127.0.0.1:1")
    with pytest.raises(GatewayFailed, match="does not answer"):
        list(stream_chat(state, QUESTION, TIMEOUTS))


def test_without_a_service_the_remedy_is_to_start_one() -> None:
    """The same before the gateway has a port."""
    for state in (None, State(), State(pid=1)):
        with pytest.raises(UsageError, match="%avocado_up"):
            require_running(state)


def test_the_first_model_is_the_default(service: Service) -> None:
    """There may be several."""
    assert first_model(service.state) == "tiny"
    assert first_model(State()) == ""


def test_the_response_is_read_to_its_end(service: Service) -> None:
    """A connection closed after the last line is logged with status 499."""
    service.lines, service.holds, service.holds_s = (DONE,), True, 0.2
    assert list(stream_chat(service.state, QUESTION, TIMEOUTS)) == [
        ChatChunk(tokens=12, seconds=2.0)
    ]
    assert service.over.wait(scaled(5))
    assert not service.left.is_set(), "the caller hung up"
