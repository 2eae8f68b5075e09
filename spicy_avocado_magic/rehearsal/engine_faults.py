"""Faults of the stand-in engine that can be switched while it runs.

``AVOCADO_REHEARSAL_FAULTS`` names a JSON file, which is read at each request; where
it does not exist, there are none. Its keys:

- ``start``: what the server says before it exits at once;
- ``load``: the error with which every use of a model is refused, status 500;
- ``exit``: whether the server exits when a model is used;
- ``status``: with which *every* request is answered, also the health check;
- ``first_token_s``: seconds before the first word of an answer;
- ``pid``: the only process that these hold for.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from .door import Refusal

VARIABLE: Final = "AVOCADO_REHEARSAL_FAULTS"
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


def switched() -> dict[str, Any]:
    """Return the faults that hold for this process now."""
    try:
        faults = json.loads(Path(os.environ.get(VARIABLE, "")).read_text())
    except (OSError, ValueError):
        return {}
    is_ours = isinstance(faults, dict) and faults.get("pid", os.getpid()) == os.getpid()
    return faults if is_ours else {}


@web.middleware
async def faulty(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Do as switched, else serve the request."""
    if VARIABLE not in os.environ:
        return await handler(request)
    faults = switched()
    if status := faults.get("status"):
        raise Refusal(int(status), "something went wrong")
    if request.path.startswith(_USES_A_MODEL):
        if faults.get("exit"):
            os._exit(EXIT_STATUS)
        if said := faults.get("load"):
            raise Refusal(500, str(said))
        await asyncio.sleep(float(faults.get("first_token_s", 0)))
    return await handler(request)
