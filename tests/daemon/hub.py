"""A stand-in for hf.co and its CDN, over TLS, reached through a loopback proxy."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web

from spicy_avocado_magic.rehearsal.fake_ngrok.session_protocol import splice

from .model_world import Models

HOST, CDN = "hf.co", "cdn-lfs.hf.co"


@contextlib.asynccontextmanager
async def proxied_hub(
    folder: Path, models: Models
) -> AsyncIterator[tuple[str, Path, list[str]]]:
    """Serve models as hf.co does: blobs by a redirect to another host.

    Yields:
        The proxy's URL, the certificate to trust, and the hosts that were asked for.
    """
    certificate = _certificate(folder)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, folder / "key.pem")
    app = models.application()
    app.middlewares.append(_send_to_cdn)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    hosts: list[str] = []
    streams: set[asyncio.StreamWriter] = set()

    async def connect(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        asked = (await reader.readuntil(b"\r\n\r\n")).decode()
        hosts.append(asked.split()[1])
        there = await asyncio.open_connection(*runner.addresses[0][:2])
        streams.update((writer, there[1]))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with contextlib.suppress(OSError):
            await splice((reader, writer), there)

    proxy = await asyncio.start_server(connect, "127.0.0.1", 0)
    try:
        host, port = proxy.sockets[0].getsockname()[:2]
        yield f"http://{host}:{port}", certificate, hosts
    finally:
        proxy.close()
        for stream in streams:
            stream.close()
        await runner.cleanup()


@web.middleware
async def _send_to_cdn(request: web.Request, handler: Any) -> web.StreamResponse:
    if request.host == HOST and "/blobs/" in request.path:
        raise web.HTTPTemporaryRedirect(f"https://{CDN}{request.path}")
    response: web.StreamResponse = await handler(request)
    return response


def _certificate(folder: Path) -> Path:
    """Make a key and a certificate for both hosts; ``openssl`` is asked."""
    certificate = folder / "certificate.pem"
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    subprocess.run(
        [
            *("openssl", *options.split(), "-subj", f"/CN={HOST}"),
            *("-addext", f"subjectAltName=DNS:{HOST},DNS:{CDN}"),
            *("-keyout", str(folder / "key.pem"), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate
