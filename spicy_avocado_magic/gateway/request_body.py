"""Request bodies as they come in: up to a cap, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from ..config.limits import Limits
from .admission import MemoryReservation
from .error_responses import ErrorResponse


async def read_body(
    request: web.BaseRequest, limits: Limits, hold: MemoryReservation
) -> bytes:
    """Return the whole body.

    Args:
        request: Whose body it is.
        limits: ``body_bytes`` and ``body_wait_s`` count.
        hold: Accounts for its memory.

    Raises:
        Refusal: 413 above the cap, 400 for one that is not framed as HTTP demands,
            408 for one that stalls, 429 where memory is short. The library lets a
            body whose framing breaks midway stall for ever.
    """
    if (request.content_length or 0) > limits.body_bytes:
        raise too_large(limits.body_bytes)
    hold.grow(request.content_length or 0)
    content = request.content
    if content.is_eof() and content.exception() is None:
        # A small body is here whole with its head: no wait, so no timers either.
        whole = content.read_nowait()
        _check_size(len(whole), limits, hold)
        return whole
    body = bytearray()
    try:
        while chunk := await _next_chunk(request, limits.body_wait_s):
            body += chunk
            _check_size(len(body), limits, hold)
    except web.RequestPayloadError as error:
        raise ErrorResponse(400, "The request body is malformed.") from error
    except TimeoutError as error:
        raise _stalled() from error
    return bytes(body)


def _check_size(body_bytes: int, limits: Limits, hold: MemoryReservation) -> None:
    if body_bytes > limits.body_bytes:
        raise too_large(limits.body_bytes)
    hold.grow(body_bytes)


async def iter_body(request: web.BaseRequest, limits: Limits) -> AsyncIterator[bytes]:
    """Yield the body as it comes.

    Raises:
        Refusal: 408 for one that stalls.
    """
    try:
        while chunk := await _next_chunk(request, limits.body_wait_s):
            yield chunk
    except TimeoutError as error:
        raise _stalled() from error


async def _next_chunk(request: web.BaseRequest, idle_s: float) -> bytes:
    try:
        async with asyncio.timeout(idle_s):
            return await request.content.readany()
    except RuntimeError as error:
        raise ConnectionResetError from error  # the library's word for a client gone


def _stalled() -> ErrorResponse:
    return ErrorResponse(408, "The rest of the request body did not arrive.")


def too_large(cap_bytes: int) -> ErrorResponse:
    """Return the answer to a body that is larger than ``cap_bytes``."""
    return ErrorResponse(413, f"The request body is larger than {cap_bytes} bytes.")
