"""An agent's session, as the stand-in edge holds it."""

from __future__ import annotations

import asyncio

from .wire import Stream


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
