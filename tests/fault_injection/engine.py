"""The stand-in for ``ollama``, with faults.

Run it by ``python -m tests.fault_injection.engine``.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from spicy_avocado_magic.rehearsal.fake_ollama import cli
from spicy_avocado_magic.rehearsal.fake_ollama.middleware import ApiError

from .faults import active_faults

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
    """Fail as the file of faults says, else serve the request."""
    faults = active_faults()
    if status := faults.get("status"):
        raise ApiError(int(status), "something went wrong")
    if request.path.startswith(_USES_A_MODEL):
        if faults.get("exit"):
            os._exit(EXIT_STATUS)
        if message := faults.get("load"):
            raise ApiError(500, str(message))
        await asyncio.sleep(float(faults.get("first_token_s", 0)))
    return await handler(request)


def main(arguments: list[str]) -> int:
    """Run the stand-in's command line; a server may refuse to start."""
    if arguments == ["serve"] and (reason := active_faults().get("start")):
        sys.stderr.write(f"{reason}\n")
        return 1
    return cli.main(arguments, [fault_middleware])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
