"""Faults of the stand-in engine's server."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from ..fault_injection import active_faults
from .middleware import ApiError

EXIT_STATUS: Final = 2
_USES_A_MODEL: Final = (
    "/api/generate",
    "/api/chat",
    "/api/embed",
    "/v1/chat",
    "/v1/completions",
    "/v1/messages",
    "/v1/responses",
    "/v1/embeddings",
)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def fault_middleware(
    request: web.Request, handler: _Handler
) -> web.StreamResponse:
    """Do as switched, else serve the request."""
    faults = active_faults()
    if status := faults.get("status"):
        raise ApiError(int(status), "something went wrong")
    if request.path.startswith(_USES_A_MODEL):
        if faults.get("exit"):
            os._exit(EXIT_STATUS)
        if said := faults.get("load"):
            raise ApiError(500, str(said))
        await asyncio.sleep(float(faults.get("first_token_s", 0)))
    return await handler(request)
