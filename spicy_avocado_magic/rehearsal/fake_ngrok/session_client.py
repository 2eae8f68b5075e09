"""The stand-in agent's side of a session with ``fake_ngrok.edge``."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import time
from typing import Any, Final

from .session_protocol import read_message, splice, write_message

_RECONNECT_FIRST_S: Final = 0.1
_RECONNECT_MAX_S: Final = 2.0


def log(level: str, message: str, **fields: object) -> None:
    """Print one line of the agent's log, in logfmt."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    pairs = [f"t={now} lvl={level} msg={json.dumps(message)}"]
    pairs += [f"{name}={_logfmt(value)}" for name, value in fields.items()]
    print(*pairs, flush=True)  # noqa: T201  (the log is this program's output)


def _logfmt(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or set(text) & set(" =\"'\r\n") else text


class EdgeRejected(Exception):
    """The edge refused a request, with its reason."""


def host_and_port(address: str, default_port: int) -> tuple[str, int]:
    """Return host and port of a URL or ``host:port``."""
    host, _, port = address.rpartition("://")[2].rstrip("/").partition(":")
    return host or "127.0.0.1", int(port or default_port)


class EdgeSession:
    """A session that reconnects, and the endpoints opened through it.

    Attributes:
        endpoints: The entries of the local API by name; ``asked`` is the requested URL.
    """

    def __init__(self, token: str, edge_address: str) -> None:
        self.endpoints: dict[str, dict[str, Any]] = {}
        self._token = token
        self._edge = host_and_port(edge_address, 443)
        self._writer: asyncio.StreamWriter | None = None
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._ids = itertools.count(1)
        self._streams: set[asyncio.Task[None]] = set()

    @property
    def is_online(self) -> bool:
        """Whether the session is established."""
        return self._writer is not None

    async def stay_connected(self) -> None:
        """Keep a session established until cancelled.

        Raises:
            EdgeRejected: If the edge does not accept the token.
        """
        wait_s = _RECONNECT_FIRST_S
        while True:
            try:
                reader, writer = await asyncio.open_connection(*self._edge)
            except OSError as error:
                err = f"failed to dial ngrok server with address {self._edge}: {error}"
                log("eror", "failed to reconnect session", obj="csess", err=err)
                await asyncio.sleep(wait_s)
                wait_s = min(_RECONNECT_MAX_S, wait_s * 2)
                continue
            try:
                if await self._session(reader, writer):
                    wait_s = _RECONNECT_FIRST_S
                    log("warn", "session closed, starting reconnect loop", obj="csess")
            finally:
                self._writer = None
                for reply in self._replies.values():
                    reply.set_result({"error": "the session has ended"})
                self._replies.clear()
                writer.close()
            await asyncio.sleep(wait_s)

    async def _session(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Run one session; return False if the edge closed before it began."""
        write_message(writer, {"token": self._token})
        welcome = await read_message(reader)
        if welcome is None:
            return False
        if "error" in welcome:
            raise EdgeRejected(welcome["error"])
        self._writer = writer
        log("info", "tunnel session started", obj="tunnels.session")
        log("info", "client session established", obj="csess", id=os.getpid())
        claims = asyncio.ensure_future(self._claim_again())
        try:
            while (message := await read_message(reader)) is not None:
                if "open" in message:
                    self._relay(message)
                elif (reply := self._replies.pop(message["id"], None)) is not None:
                    reply.set_result(message)
        finally:
            claims.cancel()
        return True

    async def _claim_again(self) -> None:
        for endpoint in list(self.endpoints.values()):
            try:
                await self.claim(endpoint)
            except EdgeRejected as error:
                log("eror", "failed to start endpoint", obj="csess", err=error)

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a message and return the edge's reply.

        Raises:
            EdgeRejected: If the edge refuses, or no session is established.
        """
        if self._writer is None:
            raise EdgeRejected("the session with the ngrok service is not established")
        number = next(self._ids)
        self._replies[number] = asyncio.get_running_loop().create_future()
        write_message(self._writer, {"id": number, **message})
        reply = await self._replies[number]
        if "error" in reply:
            raise EdgeRejected(reply["error"])
        return reply

    async def claim(self, endpoint: dict[str, Any]) -> None:
        """Put an endpoint online and record its URL.

        Raises:
            EdgeRejected: If the edge refuses.
        """
        reply = await self.ask(
            {
                "bind": endpoint["asked"],
                "pool": endpoint["pooling_enabled"],
                "policy": endpoint.get("traffic_policy", ""),
            }
        )
        endpoint["url"] = reply["url"]
        upstream = endpoint["upstream"]["url"]
        log("info", "started tunnel", obj="tunnels", addr=upstream, url=reply["url"])

    def _relay(self, message: dict[str, Any]) -> None:
        task = asyncio.ensure_future(self._carry(message["open"], message["url"]))
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)

    async def _carry(self, ticket: str, url: str) -> None:
        """Connect one public connection with the upstream."""
        hello = {"data": ticket}
        upstream = None
        for endpoint in self.endpoints.values():
            if endpoint.get("url") == url:
                address = host_and_port(endpoint["upstream"]["url"], 80)
                try:
                    upstream = await asyncio.open_connection(*address)
                except OSError as error:
                    hello["error"] = f"dial tcp {address[0]}:{address[1]}: {error}"
        with contextlib.suppress(OSError):
            data = await asyncio.open_connection(*self._edge)
            write_message(data[1], hello if upstream else {"error": "gone", **hello})
            if upstream is None:
                data[1].close()
            else:
                await splice(upstream, data)
