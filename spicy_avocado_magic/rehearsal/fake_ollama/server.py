"""The stand-in engine's HTTP server: access checks and all endpoints on one port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Middleware

from .dialects import JsonObject
from .inference_routes import InferenceEndpoints
from .middleware import access_middleware, allow_origin
from .model_routes import ModelEndpoints
from .runner import Runner
from .store import Store

_MAX_BODY_BYTES: Final = 64 * 1024 * 1024
_SHUTDOWN_S: Final = 0.1
_GIB: Final = 1 << 30


async def serve(
    listener: socket.socket,
    models: Path,
    version: str,
    middlewares: Sequence[Middleware] = (),
) -> None:
    """Serve on a bound socket until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    runner = web.AppRunner(
        create_engine(models, version, middlewares),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=_SHUTDOWN_S,
    )
    await runner.setup()
    try:
        host, port = listener.getsockname()[:2]
        _log("routes.go:2001", f'msg="Listening on {host}:{port} (version {version})"')
        await web.SockSite(runner, listener).start()
        _log_devices()
        await ended.wait()
    finally:
        await runner.cleanup()


def create_engine(
    models: Path, version: str, middlewares: Sequence[Middleware] = ()
) -> web.Application:
    """Return the server; run it with ``handler_cancellation=True``.

    Args:
        models: The folder of the model store.
        version: What ``/api/version`` answers.
        middlewares: What handles each allowed request first; tests inject faults here.
    """
    store, runner = Store(models), Runner()
    app = web.Application(
        middlewares=[access_middleware, *middlewares],
        client_max_size=_MAX_BODY_BYTES,
    )
    app.on_response_prepare.append(allow_origin)

    async def greet(_request: web.Request) -> web.Response:
        return web.Response(text="Ollama is running")

    async def show_version(_request: web.Request) -> web.Response:
        return web.json_response({"version": version})

    async def show_status(_request: web.Request) -> web.Response:
        cloud: JsonObject = {"disabled": True, "source": "env"}
        return web.json_response({"cloud": cloud})

    app.router.add_get("/", greet)
    app.router.add_get("/api/version", show_version)
    app.router.add_get("/api/status", show_status)
    app.add_routes(ModelEndpoints(store, runner).routes())
    app.add_routes(InferenceEndpoints(store, runner).routes())
    return app


def _log_devices() -> None:
    """Log what a real server logs on a machine without a GPU."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB
    _log("runner.go:60", 'msg="discovering available GPUs..."')
    _log(
        "types.go:50",
        'msg="inference compute" id=cpu library=cpu compute="" name=cpu '
        'description=cpu libdirs=ollama driver="" pci_id="" type="" '
        f'total="{total:.1f} GiB" available="{total:.1f} GiB"',
    )
    _log(
        "routes.go:2051",
        'msg="vram-based default context" total_vram="0 B" default_num_ctx=4096',
    )


def _log(source: str, message: str) -> None:
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    sys.stderr.write(f"time={time} level=INFO source={source} {message}\n")
    sys.stderr.flush()
