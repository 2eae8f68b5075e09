"""Callers of one proxy on raw sockets, around one selector: the load's own side."""

from __future__ import annotations

import json
import re
import selectors
import socket
import time
from dataclasses import dataclass
from typing import Final

_STAMP: Final = re.compile(rb"t=([0-9]{20});")
_STAMP_BYTES: Final = 23
_END: Final = b"0\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to ask.

    Attributes:
        port: Its loopback port.
        key: What it is to be shown; empty for none.
        pid: The root of its processes.
    """

    port: int
    key: str
    pid: int

    def request(self, body: bytes) -> bytes:
        """Return a chat request as it goes over the wire."""
        bearer = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\n"
            f"Host: 127.0.0.1:{self.port}\r\n{bearer}"
            "Accept: */*\r\nUser-Agent: benchmark\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


def chat_body(*, chunks: int, rate: float) -> bytes:
    """Return a chat that the engine stand-in streams so; whole for no chunks."""
    message = {"role": "user", "content": f"chunks={chunks} rate={rate}"}
    chat = {"model": "tiny", "stream": chunks > 0, "messages": [message]}
    return json.dumps(chat).encode()


@dataclass(slots=True, eq=False)
class Caller:
    """A keep-alive connection."""

    sock: socket.socket
    tail: bytes = b""
    has_begun: bool = False


class Crowd:
    """Callers of one target, and their combined figures.

    Attributes:
        begun: Streams whose first chunk has come.
        answered: Whole answers to short requests.
        delays_ms: From the engine's sending to the reading here, each chunk.
        again: What a caller asks once it was answered; none asks if it is empty.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._selector = selectors.DefaultSelector()
        self.begun = 0
        self.answered = 0
        self.delays_ms: list[float] = []
        self.again = b""

    def connect(self) -> Caller:
        """Open one more connection."""
        sock = socket.create_connection(("127.0.0.1", self._target.port), timeout=10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        caller = Caller(sock)
        self._selector.register(sock, selectors.EVENT_READ, caller)
        return caller

    def ask(self, caller: Caller, body: bytes) -> None:
        """Send a chat; what comes back is taken in by ``run``."""
        caller.sock.send(self._target.request(body))

    def run(self, seconds: float) -> None:
        """Take in what arrives, for so long."""
        until = time.monotonic() + seconds
        wait_s = seconds
        while wait_s >= 0:
            for key, _ in self._selector.select(wait_s):
                self._take(key.data)
            wait_s = until - time.monotonic()
            if not seconds:
                return

    def first_token_ms(self, caller: Caller, body: bytes, timeout_s: float) -> float:
        """Ask for a stream, and see it to its end while the others go on.

        Returns:
            The time to its first chunk in milliseconds.

        Raises:
            TimeoutError: If it does not end in time.
        """
        caller.tail, received, wait_ms = b"", b"", 0.0
        began = time.monotonic()
        self.ask(caller, body)
        while not _is_whole(received):
            events = self._selector.select(timeout_s)
            now = time.monotonic()
            for key, _ in events:
                if key.data is not caller:
                    self._take(key.data)
                    continue
                received += _receive(caller)
                if not wait_ms and _STAMP.search(received):
                    wait_ms = (now - began) * 1000
            if now - began > timeout_s:
                raise TimeoutError(f"a stream did not end: {received[-200:]!r}")
        if not wait_ms:
            raise ConnectionError(f"no stream, but {received[:500]!r}")
        return wait_ms

    def close(self) -> None:
        """Leave, whatever still comes."""
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            key.data.sock.close()
        self._selector.close()

    def _take(self, caller: Caller) -> None:
        received = caller.tail + _receive(caller)
        now = time.monotonic_ns()
        if self.again:
            caller.tail = self._answers_in(caller, received)
            return
        end = 0
        for stamp in _STAMP.finditer(received):
            self.delays_ms.append((now - int(stamp[1])) / 1e6)
            end = stamp.end()
        if end and not caller.has_begun:
            caller.has_begun = True
            self.begun += 1
        if caller.has_begun:
            caller.tail = received[max(end, len(received) - _STAMP_BYTES) :]
        else:
            _check_status(received)
            caller.tail = received

    def _answers_in(self, caller: Caller, received: bytes) -> bytes:
        size = answer_size(received)
        if size is None or len(received) < size:
            return received
        _check_status(received)
        self.answered += 1
        caller.sock.send(self.again)
        return received[size:]


def answer_size(received: bytes) -> int | None:
    """Return the length of an answer, head and body; None while it is unknown."""
    head_end = received.find(b"\r\n\r\n") + 4
    if head_end < 4:
        return None
    length = _LENGTH.search(received, 0, head_end)
    if length is not None:
        return head_end + int(length[1])
    end = received.find(_END, head_end)
    return None if end < 0 else end + len(_END)


def _is_whole(received: bytes) -> bool:
    size = answer_size(received)
    return size is not None and len(received) >= size


def _check_status(received: bytes) -> None:
    if not received.startswith(b"HTTP/1.1 200 "):
        raise ConnectionError(f"refused: {received[:300]!r}")


def _receive(caller: Caller) -> bytes:
    received = caller.sock.recv(65536)
    if not received:
        raise ConnectionError("the proxy closed a connection midway")
    return received
