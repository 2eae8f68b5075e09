"""The network between the product and its world: a wire that can be cut."""

from __future__ import annotations

import asyncio
import threading
from typing import Final

_CHUNK_BYTES: Final = 8192


class Wire:
    """Carries connections to an address; it keeps its own over cuts.

    Args:
        address: ``host:port`` of what is at its other end.

    Attributes:
        breaks_after: Bytes towards the product after which it breaks by itself;
            None for never.
        has_broken: Set once it did so.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._far_end = (host, int(port))
        self._port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._carrying: set[asyncio.Task[None]] = set()
        self.breaks_after: int | None = None
        self.has_broken = threading.Event()

    @property
    def address(self) -> str:
        """``host:port`` of its near end."""
        return f"127.0.0.1:{self._port}"

    async def restore(self) -> None:
        """Let connections through, again on the port that it had."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Break all connections, and refuse new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._open:
            writer.transport.abort()

    async def close(self) -> None:
        """End it."""
        self.cut()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _carry(
        self, near_in: asyncio.StreamReader, near: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)
        self._open.add(near)
        try:
            far_in, far = await asyncio.open_connection(*self._far_end)
        except OSError:
            self._open.discard(near)
            near.transport.abort()
            return
        self._open.add(far)
        await asyncio.gather(
            self._pass(near_in, far), self._pass(far_in, near, counts=True)
        )
        self._open -= {near, far}
        near.close()
        far.close()

    async def _pass(
        self,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        *,
        counts: bool = False,
    ) -> None:
        try:
            while chunk := await source.read(_CHUNK_BYTES):
                if counts and self.breaks_after is not None:
                    chunk = chunk[: self.breaks_after]
                    self.breaks_after -= len(chunk)
                sink.write(chunk)
                await sink.drain()
                if counts and self.breaks_after == 0:
                    self.breaks_after = None
                    self.has_broken.set()
                    self.cut()
            sink.write_eof()
        except OSError:
            sink.transport.abort()
