"""The one form there is: an audio file to be transcribed, with the model's name."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

from aiohttp import BodyPartReader, web

from ..limits import Limits
from ..model_name import ModelName
from .bodies import Outgoing, too_large
from .places import Hold
from .refusal import Refusal
from .served import ServedModels

_TEXTS: Final = ("model", "language", "prompt", "response_format")
_FILE: Final = "file"
"""All that the engine reads of the form.

``TranscriptionMiddleware`` in ``middleware/openai.go`` of github.com/ollama/ollama
v0.34.1.
"""
_MALFORMED: Final = "The request body is not a proper form."


async def read_form(
    request: web.BaseRequest, served: ServedModels, limits: Limits, hold: Hold
) -> Outgoing:
    """Return our own serialisation of a transcription's form.

    Raises:
        Refusal: 400 for what is no clear form, 404 for a model that is not served,
            408 for one that stalls, 413 above the cap, 415 for another body, 429
            where memory is short.
    """
    if request.content_type != "multipart/form-data":
        raise Refusal(415, "Send this request as multipart/form-data.")
    if (request.content_length or 0) > limits.body_bytes:
        raise too_large(limits.body_bytes)
    # Twice: as it came, and as it goes.
    hold.grow(2 * (request.content_length or limits.body_bytes))
    parts = await _read_parts(request, limits)
    name = parts.get("model", b"").decode("utf-8", "replace")
    if not name:
        raise Refusal(400, "'model' is missing.")
    served.require(name)
    boundary = secrets.token_hex(16)
    body = b"".join(_written(boundary, *part) for part in parts.items())
    body += f"--{boundary}--\r\n".encode()
    return Outgoing(
        body=body,
        content_type=f"multipart/form-data; boundary={boundary}",
        length=len(body),
        model=ModelName.parse(name).short,
    )


async def _read_parts(request: web.BaseRequest, limits: Limits) -> dict[str, bytes]:
    """Return the parts that the engine reads; the others are passed over.

    Raises:
        Refusal: If a part is there twice, since readers differ on which counts.
    """
    parts: dict[str, bytes] = {}
    left = limits.body_bytes
    try:
        form = await request.multipart()
        while True:
            async with asyncio.timeout(limits.body_wait_s):
                part = await form.next()
            if part is None:
                return parts
            if not isinstance(part, BodyPartReader) or part.name is None:
                raise Refusal(400, _MALFORMED)
            content = await _read_part(part, left, limits)
            left -= len(content)
            if part.name in parts:
                raise Refusal(400, "The form has the same field twice.")
            if part.name == _FILE or part.name in _TEXTS:
                parts[part.name] = content
    except TimeoutError as error:
        raise Refusal(408, "The rest of the request body did not arrive.") from error
    except (ValueError, AssertionError, web.RequestPayloadError) as error:
        raise Refusal(400, _MALFORMED) from error


async def _read_part(part: BodyPartReader, left: int, limits: Limits) -> bytes:
    content = bytearray()
    while True:
        async with asyncio.timeout(limits.body_wait_s):
            chunk = await part.read_chunk()
        if not chunk:
            return bytes(content)
        content += chunk
        if len(content) > left:
            raise too_large(limits.body_bytes)


def _written(boundary: str, name: str, content: bytes) -> bytes:
    # The engine takes a part for a file only if it has a file name.
    file_name = '; filename="audio"' if name == _FILE else ""
    head = (
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="{name}"{file_name}\r\n\r\n'
    )
    return head.encode() + content + b"\r\n"
