"""A stand-in for ngrok's service: it owns "public" loopback URLs and relays to agents.

It is a stage set, not the service: no TLS, no HTTP/2, no limits but those that a user
meets on the first day, and of Traffic Policy what ``traffic_policy`` knows. What it
carries, it carries for real: request by request, as the service does.
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
    refusal,
    require_pooling,
)
from .http1 import Head
from .proxying import ClientConnection, UpstreamClosed
from .session_protocol import Stream, read_message, write_message
from .traffic_policy import TrafficPolicy

_ANSWER_S: Final = 10.0
"""Longest wait for an agent's data connection."""


@dataclass(frozen=True, slots=True)
class _Member:
    """How a session serves an endpoint."""

    pool: bool
    policy: TrafficPolicy | None


class _Endpoint:
    """One name, its loopback port, and the sessions that serve it."""

    def __init__(self) -> None:
        self.port = 0
        self.server: asyncio.Server | None = None
        self.members: dict[Session, _Member] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class FakeNgrok:
    """The stand-in service; it lives in the event loop that starts it.

    An endpoint's name is the domain that was asked for, or the one fixed domain of
    the account. A name keeps its port, and so its URL, for the edge's whole life,
    also over ``close`` and a new ``start``.

    Attributes:
        max_sessions: How many agents one token may have connected.
        revoked: Tokens that get no session any more.
        is_occupied: Whether all names are online in sessions that nobody sees.
        used_up: The code with which public requests are refused; 0 for none.
    """

    def __init__(self, *, max_sessions: int = 3) -> None:
        self.max_sessions = max_sessions
        self.revoked: set[str] = set()
        self.is_occupied = False
        self.used_up = 0
        self._control: asyncio.Server | None = None
        self._endpoints: dict[str, _Endpoint] = {}
        self._sessions: set[Session] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False
        self._accepted: WeakSet[asyncio.StreamWriter] = WeakSet()

    @property
    def sessions(self) -> int:
        """How many agents are connected."""
        return len(self._sessions)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Open the control address and return it; known URLs come back too."""

        def on_agent(*stream: Any) -> None:
            self._begin(self._on_agent(stream), stream)

        self._is_open = True
        self._control = await asyncio.start_server(on_agent, host, port)
        for endpoint in self._endpoints.values():
            await self._listen(endpoint)
        return f"{host}:{self._control.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Go away: no session, no URL and no connection is left."""
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
        if not self._is_open:
            # It was let in while the edge went away.
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
            self._hand_over(hello, stream)
            return
        token = str(hello.get("token", ""))
        mine = sum(session.token == token for session in self._sessions)
        most = self.max_sessions
        why_not = refusal(token, mine, most, is_revoked=token in self.revoked)
        write_message(writer, {"error": why_not} if why_not else {"ok": True})
        if not why_not:
            await self._serve_session(Session(token, writer), reader)
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
            session.end()

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
            await client.refuse("400 Bad Request")
        except (OSError, EOFError):
            client.writer.transport.abort()
        finally:
            client.writer.close()

    async def _exchange(
        self, endpoint: _Endpoint, client: ClientConnection, request: Head
    ) -> bool:
        """Serve one request; return whether another one may follow.

        A member is chosen for each, then its own policy asked, and no other member
        if it fails (https://ngrok.com/docs/universal-gateway/endpoint-pooling).
        """
        if self.used_up:
            await client.refuse("402 Payment Required", f"ERR_NGROK_{self.used_up}")
            return False
        if not endpoint.members:
            await client.refuse("404 Not Found", "ERR_NGROK_3200")
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
            await client.refuse("502 Bad Gateway", "ERR_NGROK_8012", data)
        except UpstreamClosed:
            await client.refuse("502 Bad Gateway", "ERR_NGROK_3004")
        except (OSError, EOFError, ValueError) as error:
            raise ConnectionResetError from error  # a part of a reply is none
        finally:
            session.relayed.discard(client.writer)
        return False

    @staticmethod
    async def _dial(session: Session, url: str) -> Stream | str:
        """Return a connection of the agent's, or why it gives none.

        Raises:
            TimeoutError: If it gives neither.
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
