"""An engine stand-in, fast enough not to matter to what is measured before it.

``python -m tests.benchmarks.fast_engine`` prints its port and serves until its
standard input ends. It speaks as much of ``/v1/chat/completions`` as the benchmark
asks for, on one thread around one selector; it trusts whoever calls. How many chunks
it streams, and how fast, is read in the prompt (``chunks=100 rate=50``), which every
proxy leaves as it is; each chunk carries the time of its sending (``t=…;``).
"""

from __future__ import annotations

import gc
import heapq
import itertools
import re
import resource
import selectors
import socket
import sys
import time
from dataclasses import dataclass
from typing import Final

RUNNING: Final = b"GET /running "
"""Starts the request that is answered with ``streams running, requests so far``."""

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_ORDER: Final = re.compile(rb"chunks=([0-9]+) rate=([0-9.]+)")
_STREAM: Final = re.compile(rb'"stream": *true')
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_EVENT: Final = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"tiny","system_fingerprint":"fp_ollama","choices":[{"index":0,"delta":'
    b'{"role":"assistant","content":"t=%020d;"},"finish_reason":null}]}\n\n'
)
_CHUNK: Final = b"%x\r\n" % len(_EVENT % 0) + _EVENT + b"\r\n"
_END: Final = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
_SHORT: Final = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,'
    b'"model":"tiny","choices":[{"index":0,"message":{"role":"assistant","content":'
    b'"ok"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,'
    b'"completion_tokens":1,"total_tokens":2}}'
)
_GOLDEN: Final = 0.618034
"""Multiples of it fill an interval evenly: streams must not tick in step."""


@dataclass(slots=True, eq=False)
class _Caller:
    """A connection, and what it still has to be sent."""

    sock: socket.socket
    received: bytes = b""
    chunks_left: int = 0
    interval_s: float = 0.0


class FastEngine:
    """Answers on one loopback port."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, int, _Caller]] = []
        self._order = itertools.count()
        self._running = 0
        self._requests = 0

    def serve(self) -> None:
        """Serve until standard input ends."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            wait_s = self._due[0][0] - time.monotonic() if self._due else None
            for key, _ in self._selector.select(wait_s):
                if key.data is not None:
                    self._receive(key.data)
                elif key.fileobj is self._listener:
                    self._accept()
                else:
                    return
            self._send_due()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(sock, selectors.EVENT_READ, _Caller(sock))

    def _receive(self, caller: _Caller) -> None:
        try:
            data = caller.sock.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._drop(caller)
            return
        received = caller.received + data
        head_end = received.find(b"\r\n\r\n") + 4
        length = _LENGTH.search(received, 0, head_end)
        body_end = head_end + (int(length[1]) if length else 0)
        if head_end < 4 or len(received) < body_end:
            caller.received = received
            return
        caller.received = received[body_end:]
        self._answer(caller, received[:body_end])

    def _answer(self, caller: _Caller, request: bytes) -> None:
        if request.startswith(RUNNING):
            self._reply(caller, b"%d,%d" % (self._running, self._requests))
            return
        self._requests += 1
        order = _ORDER.search(request)
        if order is None or not _STREAM.search(request):
            self._reply(caller, _SHORT)
            return
        self._running += 1
        caller.chunks_left, caller.interval_s = int(order[1]) - 1, 1 / float(order[2])
        self._send(caller, _HEAD + _CHUNK % time.monotonic_ns())
        order_number = next(self._order)
        first_s = caller.interval_s * (0.5 + order_number * _GOLDEN % 1)
        due = (time.monotonic() + first_s, order_number, caller)
        heapq.heappush(self._due, due)

    def _reply(self, caller: _Caller, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        sized = b"%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body)
        self._send(caller, sized)

    def _send_due(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            due, number, caller = self._due[0]
            if caller.sock.fileno() < 0:
                heapq.heappop(self._due)
            elif caller.chunks_left > 0:
                caller.chunks_left -= 1
                following = (due + caller.interval_s, number, caller)
                heapq.heapreplace(self._due, following)
                self._send(caller, _CHUNK % time.monotonic_ns())
            else:
                heapq.heappop(self._due)
                self._running -= 1
                caller.interval_s = 0.0
                self._send(caller, _END)

    def _send(self, caller: _Caller, data: bytes) -> None:
        """Send whole or not at all: a caller that cannot keep up is let go."""
        try:
            is_whole = caller.sock.send(data) == len(data)
        except OSError:
            is_whole = False
        if not is_whole:
            self._drop(caller)

    def _drop(self, caller: _Caller) -> None:
        if caller.sock.fileno() < 0:
            return
        if caller.interval_s:
            self._running -= 1
        self._selector.unregister(caller.sock)
        caller.sock.close()


def allow_many_files() -> None:
    """Raise the number of open files to what the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    """Print the port, then serve."""
    allow_many_files()
    gc.disable()
    engine = FastEngine()
    sys.stdout.write(f"{engine.port}\n")
    sys.stdout.flush()
    engine.serve()


if __name__ == "__main__":
    main()
