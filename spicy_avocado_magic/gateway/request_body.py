"""Reading of request bodies, within limits of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from ..config.limits import Limits
from .admission import MemoryReservation
from .error_responses import ErrorResponse


async def read_body(
    request: web.BaseRequest, limits: Limits, reservation: MemoryReservation
) -> bytes:
    """Return the whole body.

    Args:
        request: Of the client.
        limits: Of which ``body_bytes`` and ``body_wait_s`` are used.
        reservation: Grows with the body.

    Raises:
        ErrorResponse: 413 above the size limit, 400 for malformed framing, 408 for a
            body that stalls (in aiohttp, also one with framing that breaks midway),
            429 above the memory budget.
    """
    if (request.content_length or 0) > limits.body_bytes:
        raise _too_large(limits.body_bytes)
    reservation.grow(request.content_length or 0)
    content = request.content
    if content.is_eof() and content.exception() is None:
        # A small body arrives together with its headers: no wait, so no timer either.
        whole = content.read_nowait()
        _check_size(len(whole), limits, reservation)
        return whole
    body = bytearray()
    try:
        while chunk := await _next_chunk(request, limits.body_wait_s):
            body += chunk
            _check_size(len(body), limits, reservation)
    except web.RequestPayloadError as error:
        raise ErrorResponse(400, "The request body is malformed.") from error
    except TimeoutError as error:
        raise _stalled() from error
    return bytes(body)


def _check_size(
    body_bytes: int, limits: Limits, reservation: MemoryReservation
) -> None:
    if body_bytes > limits.body_bytes:
        raise _too_large(limits.body_bytes)
    reservation.grow(body_bytes)


async def iter_body(request: web.BaseRequest, limits: Limits) -> AsyncIterator[bytes]:
    """Yield the body in chunks as they arrive.

    Raises:
        ErrorResponse: 408 for a body that stalls.
    """
    try:
        while chunk := await _next_chunk(request, limits.body_wait_s):
            yield chunk
    except TimeoutError as error:
        raise _stalled() from error


async def _next_chunk(request: web.BaseRequest, timeout_s: float) -> bytes:
    try:
        async with asyncio.timeout(timeout_s):
            return await request.content.readany()
    except RuntimeError as error:
        raise ConnectionResetError from error  # what aiohttp raises for a disconnect


def _stalled() -> ErrorResponse:
    return ErrorResponse(408, "The rest of the request body did not arrive.")


def _too_large(max_bytes: int) -> ErrorResponse:
    return ErrorResponse(413, f"The request body is larger than {max_bytes} bytes.")
