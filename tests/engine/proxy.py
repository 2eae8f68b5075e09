"""A small proxy on loopback that forwards every host name to one server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass(slots=True)
class Proxy:
    """Speaks CONNECT, and forwards plain requests in absolute form."""

    target_port: int
    """Of the server that stands for every host."""
    asked: list[str] = field(default_factory=list)
    """The request lines, without their version."""
    url: str = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve, and give the URL for a proxy variable."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            yield self.url

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, where, version = head.split("\r\n", 1)[0].split(" ")
            self.asked.append(f"{method} {where}")
            out = await asyncio.open_connection("127.0.0.1", self.target_port)
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                path = urlsplit(where).path
                rest = head.split("\r\n", 1)[1]
                out[1].write(f"{method} {path} {version}\r\n{rest}".encode())
            await asyncio.gather(_pump(reader, out[1]), _pump(out[0], writer))
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(1 << 16):
            writer.write(chunk)
            await writer.drain()
    writer.close()
