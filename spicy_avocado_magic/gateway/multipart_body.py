"""Multipart request bodies: an audio file to transcribe, with the model's name."""

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

_TEXT_FIELDS: Final = ("model", "language", "prompt", "response_format")
_FILE: Final = "file"
"""The only fields that the engine reads.

``TranscriptionMiddleware`` in ``middleware/openai.go`` of github.com/ollama/ollama
v0.34.1.
"""
_MALFORMED: Final = "The request body is not a valid multipart form."
_PARSE_ERRORS: Final = (ValueError, AssertionError, RuntimeError, HttpProcessingError)
"""Raised by aiohttp's multipart reader."""
_CHUNK_BYTES: Final = 2**20


async def sanitize_transcription_form(
    request: web.BaseRequest,
    models: ModelAllowlist,
    limits: Limits,
    reservation: MemoryReservation,
) -> UpstreamBody:
    """Return our own serialisation of a transcription form, once it is checked.

    Raises:
        ErrorResponse: 400 for an ambiguous form, 404 for a model that is not served,
            408 for a body that stalls, 413 above the size limit, 415 for another
            kind of body, 429 above the memory budget.
    """
    if request.content_type != "multipart/form-data":
        raise ErrorResponse(415, "Send this request as multipart/form-data.")
    raw = await read_body(request, limits, reservation)
    reservation.grow(2 * len(raw))  # as received, and as sent
    parts = await _read_parts(request.headers, raw)
    name = parts.get("model", b"").decode("utf-8", "replace")
    if not name:
        raise ErrorResponse(400, "'model' is missing.")
    model = models.require(name)
    boundary = secrets.token_hex(16)
    content = b"".join(_serialise(boundary, *part) for part in parts.items())
    content += f"--{boundary}--\r\n".encode()
    return UpstreamBody(
        content=content,
        content_type=f"multipart/form-data; boundary={boundary}",
        length=len(content),
        model=model,
    )


async def _read_parts(headers: Headers, raw: bytes) -> dict[str, bytes]:
    """Return the parts that the engine reads; the others are skipped.

    The body is complete by now, since a client could make aiohttp buffer the headers
    of parts without end.

    Raises:
        ErrorResponse: 400 for a repeated part, since readers differ on which counts.
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
            data = await _read_part(part)
            if part.name == _FILE or part.name in _TEXT_FIELDS:
                parts[part.name] = data
    except _PARSE_ERRORS as error:
        raise ErrorResponse(400, _MALFORMED) from error
    return parts


async def _read_part(part: BodyPartReader) -> bytes:
    chunks = []
    while chunk := await part.read_chunk(_CHUNK_BYTES):
        chunks.append(chunk)
    return b"".join(chunks)


def _serialise(boundary: str, name: str, content: bytes) -> bytes:
    # The engine treats a part as a file only if it has a file name.
    file_name = '; filename="audio"' if name == _FILE else ""
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{name}"{file_name}\r\n\r\n'
    )
    return head.encode() + content + b"\r\n"
