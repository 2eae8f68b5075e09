"""A host on loopback with a configurable response, or none."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(slots=True)
class SmallHost:
    """HTTP server that is also a proxy which refuses tunnels.

    Attributes:
        status: Of every response.
        headers: Of every response, in place of the usual ``Date``.
        silent: Whether requests are accepted and never answered.
        asked: The request lines, without their version.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    silent: bool = False
    asked: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self, context: ssl.SSLContext | None = None) -> Iterator[str]:
        """Serve, and yield ``host:port``."""
        ended = threading.Event()
        host = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                host.asked.append(f"{self.command} {self.path}")
                if host.silent:
                    ended.wait()
                    return
                self.send_response_only(host.status)
                for name, value in host.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        for method in ("GET", "CONNECT"):
            setattr(Handler, f"do_{method}", Handler.answer)
        server = _Quiet(("127.0.0.1", 0), Handler)
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            ended.set()
            server.shutdown()
            thread.join()
            server.server_close()


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Pass over clients that leave: what they saw is the test's subject."""
