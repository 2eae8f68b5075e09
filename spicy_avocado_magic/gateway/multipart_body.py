"""The one form there is: an audio file to be transcribed, with the model's name."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError

from ..config.limits import Limits
from .admission import MemoryReservation
from .authorization import Headers
from .error_responses import ErrorResponse
from .json_body import UpstreamBody
from .model_allowlist import ModelAllowlist
from .request_body import read_body

_TEXTS: Final = ("model", "language", "prompt", "response_format")
_FILE: Final = "file"
"""All that the engine reads of the form.

``TranscriptionMiddleware`` in ``middleware/openai.go`` of github.com/ollama/ollama
v0.34.1.
"""
_MALFORMED: Final = "The request body is not a proper form."
_UNREADABLE: Final = (ValueError, AssertionError, RuntimeError, HttpProcessingError)
"""What the library raises at one."""
_CHUNK_BYTES: Final = 2**20


async def sanitize_transcription_form(
    request: web.BaseRequest,
    served: ModelAllowlist,
    limits: Limits,
    hold: MemoryReservation,
) -> UpstreamBody:
    """Return our own serialisation of a transcription's form.

    Raises:
        Refusal: 400 for what is no clear form, 404 for a model that is not served,
            408 for one that stalls, 413 above the cap, 415 for another body, 429
            where memory is short.
    """
    if request.content_type != "multipart/form-data":
        raise ErrorResponse(415, "Send this request as multipart/form-data.")
    raw = await read_body(request, limits, hold)
    hold.grow(2 * len(raw))  # as it came, and as it goes
    parts = await _read_parts(request.headers, raw)
    name = parts.get("model", b"").decode("utf-8", "replace")
    if not name:
        raise ErrorResponse(400, "'model' is missing.")
    model = served.require(name)
    boundary = secrets.token_hex(16)
    body = b"".join(_written(boundary, *part) for part in parts.items())
    body += f"--{boundary}--\r\n".encode()
    return UpstreamBody(
        body=body,
        content_type=f"multipart/form-data; boundary={boundary}",
        length=len(body),
        model=model,
    )


async def _read_parts(headers: Headers, raw: bytes) -> dict[str, bytes]:
    """Return the parts that the engine reads; the others are passed over.

    It is all here already: a client could make the library keep heads of parts
    without end.

    Raises:
        Refusal: If a part is there twice, since readers differ on which counts.
    """
    loop = asyncio.get_running_loop()
    content = StreamReader(BaseProtocol(loop), len(raw), loop=loop)
    content.feed_data(raw)
    content.feed_eof()
    parts: dict[str, bytes] = {}
    try:
        form = MultipartReader(headers, content)
        while (part := await form.next()) is not None:
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise ErrorResponse(400, _MALFORMED)
            if part.name in parts:
                raise ErrorResponse(400, "The form has the same field twice.")
            written = await _read_part(part)
            if part.name == _FILE or part.name in _TEXTS:
                parts[part.name] = written
    except _UNREADABLE as error:
        raise ErrorResponse(400, _MALFORMED) from error
    return parts


async def _read_part(part: BodyPartReader) -> bytes:
    chunks = []
    while chunk := await part.read_chunk(_CHUNK_BYTES):
        chunks.append(chunk)
    return b"".join(chunks)


def _written(boundary: str, name: str, content: bytes) -> bytes:
    # The engine takes a part for a file only if it has a file name.
    file_name = '; filename="audio"' if name == _FILE else ""
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{name}"{file_name}\r\n\r\n'
    )
    return head.encode() + content + b"\r\n"
