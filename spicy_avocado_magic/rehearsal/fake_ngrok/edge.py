"""A stand-in for ngrok's service: "public" loopback URLs, relayed to agents.

It has no TLS, no HTTP/2, only the limits that a user meets on the first day, and of
Traffic Policy only what ``traffic_policy`` implements. Requests are relayed one by one,
as the service does.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakSet

from .account import (
    EndpointRefused,
    already_online,
    read_policy,
    require_pooling,
    token_error,
)
from .http1 import Head
from .proxying import ClientConnection, UpstreamClosed
from .session_protocol import Stream, read_message, write_message
from .traffic_policy import TrafficPolicy

_ANSWER_S: Final = 10.0
"""Longest wait for an agent's data connection."""


@dataclass(frozen=True, slots=True)
class _Member:
    """A session's options for one endpoint."""

    pool: bool
    policy: TrafficPolicy | None


class _Endpoint:
    """A name, its loopback port, and the sessions that serve it."""

    def __init__(self) -> None:
        self.port = 0
        self.server: asyncio.Server | None = None
        self.members: dict[Session, _Member] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class FakeNgrok:
    """The stand-in service; use it in the event loop that starts it.

    An endpoint's name is the requested domain, or the fixed domain of the account. A
    name keeps its port, and so its URL, as long as this object exists, also over
    ``close`` and a new ``start``.

    Attributes:
        max_sessions: How many agents may be connected with one token.
        revoked: Tokens that get no session.
        is_occupied: Whether every name counts as online elsewhere.
        quota_code: The ngrok code with which public requests are refused; 0 for none.
    """

    def __init__(self, *, max_sessions: int = 3) -> None:
        self.max_sessions = max_sessions
        self.revoked: set[str] = set()
        self.is_occupied = False
        self.quota_code = 0
        self._control: asyncio.Server | None = None
        self._endpoints: dict[str, _Endpoint] = {}
        self._sessions: set[Session] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False
        self._accepted: WeakSet[asyncio.StreamWriter] = WeakSet()

    @property
    def sessions(self) -> int:
        """The number of connected agents."""
        return len(self._sessions)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Open the control address and return it; earlier URLs are served again."""

        def on_agent(*stream: Any) -> None:
            self._begin(self._on_agent(stream), stream)

        self._is_open = True
        self._control = await asyncio.start_server(on_agent, host, port)
        for endpoint in self._endpoints.values():
            await self._listen(endpoint)
        return f"{host}:{self._control.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Close every session, URL and connection."""
        self._is_open = False
        servers = [self._control, *(e.server for e in self._endpoints.values())]
        for server in servers:
            if server is not None:
                server.close()
        self.drop_sessions()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._accepted:
            writer.transport.abort()
        self._accepted.clear()

    def drop_sessions(self) -> None:
        """Abort every agent's session and the connections that it relays."""
        for session in self._sessions:
            session.abort()

    async def _listen(self, endpoint: _Endpoint) -> None:
        def on_client(*client: Any) -> None:
            self._begin(self._on_client(endpoint, client), client)

        host, port = "127.0.0.1", endpoint.port
        endpoint.server = await asyncio.start_server(on_client, host, port)
        endpoint.port = endpoint.server.sockets[0].getsockname()[1]

    def _begin(self, work: Coroutine[Any, Any, None], stream: Stream) -> None:
        """Serve a connection in a task; ``close`` ends both."""
        if not self._is_open:
            # The connection was accepted while the edge was closing.
            work.close()
            stream[1].transport.abort()
            return
        self._accepted.add(stream[1])
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _on_agent(self, stream: Stream) -> None:
        reader, writer = stream
        hello = await read_message(reader) or {}
        if "data" in hello:
            self._assign(hello, stream)
            return
        token = str(hello.get("token", ""))
        count = sum(session.token == token for session in self._sessions)
        is_revoked = token in self.revoked
        error = token_error(token, count, self.max_sessions, is_revoked=is_revoked)
        write_message(writer, {"error": error} if error else {"ok": True})
        if not error:
            await self._serve_session(Session(token, writer), reader)
        writer.close()

    def _assign(self, hello: dict[str, Any], stream: Stream) -> None:
        for session in self._sessions:
            answer = session.waiting.get(str(hello["data"]))
            if answer is not None and not answer.done():
                error = str(hello.get("error", ""))
                answer.set_result(error or stream)
                if not error:
                    return
        stream[1].close()

    async def _serve_session(
        self, session: Session, reader: asyncio.StreamReader
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
            session.abort()

    @staticmethod
    def _name(token: str, url: str) -> str:
        if url:
            return url.rpartition("://")[2].rstrip("/").lower()
        return f"account-{hashlib.sha256(token.encode()).hexdigest()[:12]}"

    async def _bind(self, session: Session, message: dict[str, Any]) -> dict[str, Any]:
        name = self._name(session.token, str(message["bind"]))
        pool = bool(message.get("pool"))
        endpoint = self._endpoints.setdefault(name, _Endpoint())
        try:
            policy = read_policy(session.token, str(message.get("policy") or ""))
            if pool:
                require_pooling(session.token)
            if self.is_occupied or not all(
                pool and other.pool for other in endpoint.members.values()
            ):
                raise already_online(name)
        except EndpointRefused as error:
            return {"error": str(error)}
        endpoint.members[session] = _Member(pool, policy)
        if endpoint.server is None:
            await self._listen(endpoint)
        return {"url": endpoint.url}

    async def _on_client(self, endpoint: _Endpoint, stream: Stream) -> None:
        client = ClientConnection(stream)
        try:
            is_open = True
            while is_open and (request := await client.reader.head()) is not None:
                is_open = await self._exchange(endpoint, client, request)
        except ValueError:
            await client.reject("400 Bad Request")
        except (OSError, EOFError):
            client.writer.transport.abort()
        finally:
            client.writer.close()

    async def _exchange(
        self, endpoint: _Endpoint, client: ClientConnection, request: Head
    ) -> bool:
        """Serve one request; return whether another one may follow.

        A random member is chosen and its own policy applied; if it fails, no other
        member is tried (https://ngrok.com/docs/universal-gateway/endpoint-pooling).
        """
        if self.quota_code:
            await client.reject("402 Payment Required", f"ERR_NGROK_{self.quota_code}")
            return False
        if not endpoint.members:
            await client.reject("404 Not Found", "ERR_NGROK_3200")
            return False
        session, member = random.choice(list(endpoint.members.items()))
        reply = member.policy and member.policy.reply_to(request)
        if reply:
            return await client.answer(request, reply)
        session.relayed.add(client.writer)
        try:
            data = await self._dial(session, endpoint.url)
            if not isinstance(data, str):
                return await client.relay(request, data)
            await client.reject("502 Bad Gateway", "ERR_NGROK_8012", data)
        except UpstreamClosed:
            await client.reject("502 Bad Gateway", "ERR_NGROK_3004")
        except (OSError, EOFError, ValueError) as error:
            raise ConnectionResetError from error  # a partial reply is no reply
        finally:
            session.relayed.discard(client.writer)
        return False

    @staticmethod
    async def _dial(session: Session, url: str) -> Stream | str:
        """Return a data connection of the agent, or its error message.

        Raises:
            TimeoutError: If the agent does not answer.
        """
        ticket = secrets.token_hex(8)
        answer = session.expect(ticket)
        try:
            write_message(session.writer, {"open": ticket, "url": url})
            async with asyncio.timeout(_ANSWER_S):
                return await answer
        finally:
            del session.waiting[ticket]


class Session:
    """One connected agent, and the public connections that it relays."""

    def __init__(self, token: str, writer: asyncio.StreamWriter) -> None:
        self.token = token
        self.writer = writer
        self.waiting: dict[str, asyncio.Future[Stream | str]] = {}
        self.relayed: set[asyncio.StreamWriter] = set()

    def expect(self, ticket: str) -> asyncio.Future[Stream | str]:
        """Return a future of the agent's data connection or its error message."""
        self.waiting[ticket] = asyncio.get_running_loop().create_future()
        return self.waiting[ticket]

    def abort(self) -> None:
        """Abort the session and all connections that it relays."""
        for answer in self.waiting.values():
            if not answer.done():
                answer.set_result("")
        for writer in (self.writer, *self.relayed):
            writer.transport.abort()
