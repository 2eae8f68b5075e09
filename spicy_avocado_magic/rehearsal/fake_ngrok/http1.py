"""HTTP/1.1 message framing for the stand-in edge (RFC 9112).

Bytes are relayed unchanged. Content-Length and chunked bodies are understood;
ambiguous framing is refused; there are no upgrades and no HTTP/2.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

from .session_protocol import CHUNK_BYTES

_HEAD_BYTES: Final = 1024 * 1024
"""The service's limit of a message head."""
_END_OF_HEAD: Final = b"\r\n\r\n"
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BODILESS: Final = frozenset({204, 304})
_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The start line and headers of a request or a reply.

    Attributes:
        raw: The bytes as received.
        first: The three parts of the start line.
        headers: Values by lower-case name.
    """

    raw: bytes
    first: tuple[str, str, str]
    headers: Mapping[str, tuple[str, ...]]

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Parse a head with its empty last line.

        Raises:
            ValueError: If it is not well-formed.
        """
        first, *lines = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        parts = [*first.split(" ", 2), "", ""]
        headers: dict[str, tuple[str, ...]] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not _TOKEN.fullmatch(name):
                raise ValueError(line)
            headers[name.lower()] = (*headers.get(name.lower(), ()), value.strip())
        head = cls(raw=raw, first=(parts[0], parts[1], parts[2]), headers=headers)
        lengths = headers.get("content-length", ())
        if len(lengths) > 1 or not all(re.fullmatch("[0-9]+", n) for n in lengths):
            raise ValueError(lengths)
        if head.is_chunked and lengths:
            raise ValueError(raw)
        return head

    @property
    def method(self) -> str:
        """The method of a request."""
        return self.first[0]

    @property
    def path(self) -> str:
        """The path of a request, without its query."""
        return self.first[1].partition("?")[0]

    @property
    def status(self) -> int:
        """The status of a reply."""
        return int(self.first[1])

    @property
    def is_chunked(self) -> bool:
        """Whether the body is chunked."""
        coding = ", ".join(self.headers.get("transfer-encoding", ())).lower()
        if coding not in ("", "chunked"):
            raise ValueError(coding)
        return coding == "chunked"

    @property
    def length(self) -> int | None:
        """The Content-Length in bytes, or None."""
        return next(map(int, self.headers.get("content-length", ())), None)

    @property
    def is_persistent(self) -> bool:
        """Whether the sender keeps the connection open (RFC 9112, section 9.3)."""
        tokens = ",".join(self.headers.get("connection", ())).lower().split(",")
        is_closing = "close" in map(str.strip, tokens)
        return "HTTP/1.1" in self.first and not is_closing

    def has_body(self, method: str) -> bool:
        """Return whether this reply to a request of this method has a body."""
        return method != "HEAD" and self.status not in _BODILESS and self.status >= _OK


class HttpReader:
    """A reader of consecutive messages on one connection."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._pending = bytearray()

    async def head(self) -> Head | None:
        """Return the next head, or None at the end of the connection.

        Raises:
            ValueError: If the head is malformed, too long or incomplete.
            OSError: If the connection broke.
        """
        while (end := self._pending.find(_END_OF_HEAD)) < 0:
            if len(self._pending) > _HEAD_BYTES:
                raise ValueError(_HEAD_BYTES)
            if not await self.more():
                if self._pending:
                    raise ValueError(bytes(self._pending))
                return None
        return Head.parse(self._take(end + len(_END_OF_HEAD)))

    async def more(self) -> bool:
        """Wait for further bytes and buffer them; return False at the end."""
        chunk = await self._reader.read(CHUNK_BYTES)
        self._pending += chunk
        return bool(chunk)

    async def skip(self) -> None:
        """Read to the end and discard it."""
        while await self.more():
            self._pending.clear()

    async def body(self, head: Head, *, to_end: bool = False) -> AsyncIterator[bytes]:
        """Yield the body of a message as it arrives, with its framing.

        Args:
            head: The head of the message.
            to_end: Whether a body of unknown length ends with the connection.

        Raises:
            EOFError: If the connection ends before the message does.
            ValueError: If its chunks are malformed.
        """
        if head.is_chunked:
            async for part in self._chunks():
                yield part
        elif head.length is not None:
            async for part in self._exactly(head.length):
                yield part
        elif to_end:
            while self._pending or await self.more():
                yield self._take(len(self._pending))

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int((line := await self._line()).partition(b";")[0], 16):
            yield line
            async for part in self._exactly(size + 2):
                yield part
        yield line
        while line != b"\r\n":  # trailers
            line = await self._line()
            yield line

    async def _line(self) -> bytes:
        while (end := self._pending.find(b"\r\n")) < 0:
            if not await self.more():
                raise EOFError
        return self._take(end + 2)

    async def _exactly(self, count: int) -> AsyncIterator[bytes]:
        while count:
            if not self._pending and not await self.more():
                raise EOFError
            part = self._take(count)
            count -= len(part)
            yield part

    def _take(self, count: int) -> bytes:
        taken = bytes(self._pending[:count])
        del self._pending[:count]
        return taken
