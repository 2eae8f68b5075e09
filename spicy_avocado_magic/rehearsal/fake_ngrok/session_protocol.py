"""The session protocol between the stand-in edge and agent.

An agent's session is one TCP connection with a JSON object a line. The agent sends
``{"token"}``, then ``{"id", "bind", "pool", "policy"}`` and ``{"id", "unbind"}``; the
edge answers with the same ``id`` and ``url`` or ``error``. For each public request the
edge sends ``{"open": ticket, "url"}`` and the agent opens a second connection whose
first line is ``{"data": ticket}``, with ``error`` if its upstream is unreachable;
raw bytes follow.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final, TypeAlias

Stream: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]

CHUNK_BYTES: Final = 64 * 1024


async def read_message(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    """Return the next object of a session, or None at its end."""
    try:
        line = await reader.readline()
        message = json.loads(line) if line else None
    except (OSError, ValueError):
        return None
    return message if isinstance(message, dict) else None


def write_message(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    """Send one object of a session."""
    writer.write(json.dumps(message).encode() + b"\n")


async def splice(left: Stream, right: Stream) -> None:
    """Copy bytes both ways until both sides have ended, then close both."""
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(_copy(left[0], right[1]))
            both.create_task(_copy(right[0], left[1]))
    except* OSError:
        left[1].transport.abort()
        right[1].transport.abort()
    finally:
        left[1].close()
        right[1].close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    writer.write_eof()
