"""A stand-in for ngrok's service: it owns "public" loopback URLs and relays to agents.

It is a stage set, not the service: no TLS, no HTTP rules, no limits but those that
a user meets on the first day. What it carries, it carries for real.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import re
import secrets
from collections.abc import Coroutine
from typing import Any, Final

from .wire import CHUNK_BYTES, Stream, read_message, splice, write_message

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{20,200}")
_ANSWER_S: Final = 10.0
"""Longest wait for an agent's data connection, and for a refused client to leave."""


def refusal(token: str, sessions: int, max_sessions: int) -> str:
    """Return why a token gets no session, in ngrok's words; empty if it gets one.

    Like the real service, it repeats a token that it refuses.
    """
    if not _TOKEN.fullmatch(token) or "malformed" in token:
        said = f"does not look like a proper ngrok authtoken.\nYour authtoken: {token}"
        why, code = f"The authtoken you specified {said}", 105
    elif "revoked" in token:
        said = f"is properly formed, but it is invalid.\nYour authtoken: {token}"
        why, code = f"The authtoken you specified {said}", 107
    elif sessions >= max_sessions:
        limit = f"limited to {max_sessions} simultaneous ngrok agent sessions."
        why, code = f"Your account is {limit}", 108
    else:
        return ""
    return f"authentication failed: {why}\r\n\r\nERR_NGROK_{code}\r\n"


class _Session:
    """One agent that is connected, and the public connections it serves."""

    def __init__(self, token: str, writer: asyncio.StreamWriter) -> None:
        self.token = token
        self.writer = writer
        self.waiting: dict[str, asyncio.Future[Stream | str]] = {}
        self.relayed: set[asyncio.StreamWriter] = set()

    def expect(self, ticket: str) -> asyncio.Future[Stream | str]:
        """Return what becomes the agent's data connection, or why there is none."""
        self.waiting[ticket] = asyncio.get_running_loop().create_future()
        return self.waiting[ticket]

    def end(self) -> None:
        """Let the agent go, and with it all that it carries."""
        for answer in self.waiting.values():
            if not answer.done():
                answer.set_result("")
        for writer in (self.writer, *self.relayed):
            writer.transport.abort()


class _Endpoint:
    """One name, its loopback port, and the sessions that serve it."""

    def __init__(self) -> None:
        self.port = 0
        self.server: asyncio.Server | None = None
        self.members: dict[_Session, bool] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Edge:
    """The stand-in service; it lives in the event loop that starts it.

    An endpoint's name is the domain that was asked for, or the one fixed domain of
    the account. A name keeps its port, and so its URL, for the edge's whole life,
    also over ``close`` and a new ``start``.

    Attributes:
        max_sessions: How many agents one token may have connected.
    """

    def __init__(self, *, max_sessions: int = 3) -> None:
        self.max_sessions = max_sessions
        self._control: asyncio.Server | None = None
        self._endpoints: dict[str, _Endpoint] = {}
        self._sessions: set[_Session] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Open the control address and return it; known URLs come back too."""

        def on_agent(*stream: Any) -> None:
            self._begin(self._on_agent(stream), stream)

        self._control = await asyncio.start_server(on_agent, host, port)
        for endpoint in self._endpoints.values():
            await self._listen(endpoint)
        return f"{host}:{self._control.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Go away: no session, no URL and no connection is left."""
        servers = [self._control, *(e.server for e in self._endpoints.values())]
        for server in servers:
            if server is not None:
                server.close()
        self.drop_sessions()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def drop_sessions(self) -> None:
        """Cut every agent's session, and the connections that it carries."""
        for session in self._sessions:
            session.end()

    async def _listen(self, endpoint: _Endpoint) -> None:
        def on_client(*client: Any) -> None:
            self._begin(self._on_client(endpoint, client), client)

        host, port = "127.0.0.1", endpoint.port
        endpoint.server = await asyncio.start_server(on_client, host, port)
        endpoint.port = endpoint.server.sockets[0].getsockname()[1]

    def _begin(self, work: Coroutine[Any, Any, None], stream: Stream) -> None:
        """Serve a connection in a task that ``close`` ends, and the connection too."""

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if task.cancelled():
                stream[1].transport.abort()

        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(ended)

    async def _on_agent(self, stream: Stream) -> None:
        reader, writer = stream
        hello = await read_message(reader) or {}
        if "data" in hello:
            self._hand_over(hello, stream)
            return
        token = str(hello.get("token", ""))
        mine = sum(session.token == token for session in self._sessions)
        why_not = refusal(token, mine, self.max_sessions)
        write_message(writer, {"error": why_not} if why_not else {"ok": True})
        if not why_not:
            await self._serve_session(_Session(token, writer), reader)
        writer.close()

    def _hand_over(self, hello: dict[str, Any], stream: Stream) -> None:
        for session in self._sessions:
            answer = session.waiting.get(str(hello["data"]))
            if answer is not None and not answer.done():
                error = str(hello.get("error", ""))
                answer.set_result(error or stream)
                if not error:
                    return
        stream[1].close()

    async def _serve_session(
        self, session: _Session, reader: asyncio.StreamReader
    ) -> None:
        self._sessions.add(session)
        try:
            while (message := await read_message(reader)) is not None:
                reply = {"id": message.get("id")}
                if "bind" in message:
                    reply |= await self._bind(session, message)
                else:
                    name = self._name(session.token, str(message.get("unbind", "")))
                    if name in self._endpoints:
                        self._endpoints[name].members.pop(session, None)
                write_message(session.writer, reply)
        finally:
            self._sessions.discard(session)
            for endpoint in self._endpoints.values():
                endpoint.members.pop(session, None)
            session.end()

    @staticmethod
    def _name(token: str, url: str) -> str:
        if url:
            return url.rpartition("://")[2].rstrip("/").lower()
        return f"account-{hashlib.sha256(token.encode()).hexdigest()[:12]}"

    async def _bind(self, session: _Session, message: dict[str, Any]) -> dict[str, Any]:
        name = self._name(session.token, str(message["bind"]))
        pool = bool(message.get("pool"))
        endpoint = self._endpoints.setdefault(name, _Endpoint())
        if pool and "unpooled" in session.token:
            return {
                "error": "failed to start tunnel: This account does not have access to "
                "Endpoint pooling. Upgrade or switch to a pay-as-you-go plan for "
                "access.\r\n\r\nERR_NGROK_18019\r\n"
            }
        if endpoint.members and not (pool and all(endpoint.members.values())):
            return {
                "error": f"failed to start tunnel: The endpoint '{name}' is already "
                "online. Either\n1. stop your existing endpoint first, or\n2. start "
                "both endpoints with `--pooling-enabled` to load balance between "
                "them.\r\n\r\nERR_NGROK_334\r\n"
            }
        endpoint.members[session] = pool
        if endpoint.server is None:
            await self._listen(endpoint)
        return {"url": endpoint.url}

    async def _on_client(self, endpoint: _Endpoint, client: Stream) -> None:
        if not endpoint.members:
            await _refuse(client, "404 Not Found", "ERR_NGROK_3200")
            return
        session = random.choice(list(endpoint.members))
        ticket = secrets.token_hex(8)
        answer: asyncio.Future[Stream | str] = (
            asyncio.get_running_loop().create_future()
        )
        session.waiting[ticket] = answer
        session.relayed.add(client[1])
        try:
            write_message(session.writer, {"open": ticket, "url": endpoint.url})
            async with asyncio.timeout(_ANSWER_S):
                data = await answer
            if isinstance(data, str):
                session.relayed.discard(client[1])
                await _refuse(client, "502 Bad Gateway", "ERR_NGROK_8012", data)
            else:
                await splice(client, data)
        except TimeoutError:
            client[1].transport.abort()
        finally:
            del session.waiting[ticket]
            session.relayed.discard(client[1])


async def _refuse(client: Stream, status: str, code: str, detail: str = "") -> None:
    """Answer a public request in the edge's own name, once it has been made."""
    reader, writer = client
    body = f"{detail}\r\n{code}\r\n"
    head = (
        f"HTTP/1.1 {status}\r\nNgrok-Error-Code: {code}\r\nConnection: close\r\n"
        f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with contextlib.suppress(OSError, EOFError, TimeoutError, ValueError):
        async with asyncio.timeout(_ANSWER_S):
            await reader.readuntil(b"\r\n\r\n")
            writer.write((head + body).encode())
            writer.write_eof()
            # A close with unread bytes resets the connection before it is read.
            while await reader.read(CHUNK_BYTES):
                pass
    writer.close()
