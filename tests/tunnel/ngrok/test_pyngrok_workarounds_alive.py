"""Health check by the agent's local API."""

from __future__ import annotations

import asyncio

from aiohttp import web

from spicy_avocado_magic.tunnel.ngrok.pyngrok_workarounds import is_alive

from ...tunnel_parts import serving


async def test_only_a_successful_response_in_time_is_healthy() -> None:
    """Silence, an error and a closed port are not."""
    is_silent, status = False, 200

    async def respond(_request: web.Request) -> web.Response:
        if is_silent:
            await asyncio.Event().wait()
        return web.json_response({"endpoints": []}, status=status)

    app = web.Application()
    app.router.add_get("/api/endpoints", respond)
    async with serving(app) as url:
        assert await is_alive(url, 5.0), "a successful response was not accepted"
        status = 500
        assert not await is_alive(url, 5.0), "an error counted as healthy"
        status, is_silent = 200, True
        assert not await is_alive(url, 0.05), "silence counted as healthy"
    assert not await is_alive(url, 5.0), "a closed port counted as healthy"
    assert not await is_alive("", 5.0), "no address counted as healthy"
