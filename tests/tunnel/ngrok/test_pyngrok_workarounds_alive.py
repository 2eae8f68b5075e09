"""A sign of life of the agent's local API."""

from __future__ import annotations

import asyncio

from aiohttp import web

from spicy_avocado_magic.tunnel.ngrok.pyngrok_workarounds import is_alive

from ...tunnel_parts import serving


async def test_only_an_answer_in_time_is_a_sign_of_life() -> None:
    """A silent one, an error and a closed port are none."""
    is_silent, status = False, 200

    async def tell(_request: web.Request) -> web.Response:
        if is_silent:
            await asyncio.Event().wait()
        return web.json_response({"endpoints": []}, status=status)

    app = web.Application()
    app.router.add_get("/api/endpoints", tell)
    async with serving(app) as url:
        assert await is_alive(url, 5.0), "it answered"
        status = 500
        assert not await is_alive(url, 5.0), "an error passed for an answer"
        status, is_silent = 200, True
        assert not await is_alive(url, 0.05), "silence passed for an answer"
    assert not await is_alive(url, 5.0), "a closed port passed for an answer"
    assert not await is_alive("", 5.0), "no address passed for an answer"
