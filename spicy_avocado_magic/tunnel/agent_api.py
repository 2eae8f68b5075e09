"""The agent's local API, asked for nothing but a sign of life."""

from __future__ import annotations

import aiohttp


async def answers(api_url: str, timeout_s: float) -> bool:
    """Whether the agent's API answers in time.

    It says nothing of the service behind: it also answers while the edge is gone.
    """
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(f"{api_url}/api/endpoints") as response,
        ):
            await response.read()
            return response.ok
    except (aiohttp.ClientError, TimeoutError, ConnectionError):
        return False
