"""When a running engine is taken for hung; a busy one never is."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from ..config.timeouts import Policy
from ..engine.ollama_process import EngineServer
from ..engine.runner_activity import effort_of
from ..errors import LOG_LINES_SHOWN, EngineFailed
from ..gateway.app import Gateway
from .keeper import race

_REMEDY: Final = "It is started again; requests that were running are lost."


async def until_hung(
    server: EngineServer, gateway: Gateway, policy: Policy
) -> EngineFailed:
    """Return why the engine must be taken for hung, as soon as it must."""
    silent = _until_silent(server, policy)
    stuck = _until_stuck(server, gateway, policy)
    if await race(silent, stuck) == 0:
        misses = policy.engine_misses
        problem = f"The engine has not answered {misses} times in a row."
    else:
        problem = "The engine answers no request: what runs the model does nothing."
    tail = server.log_tail(LOG_LINES_SHOWN)
    return EngineFailed(problem, _REMEDY, log_tail=tail)


async def _until_silent(server: EngineServer, policy: Policy) -> None:
    """Return after misses in a row; after a first one it is asked again at once."""
    missed, pause_s = 0, policy.engine_check_every_s
    while missed < policy.engine_misses:
        await asyncio.sleep(pause_s)
        began = time.monotonic()
        missed = 0 if await server.is_healthy() else missed + 1
        took_s = time.monotonic() - began
        pause_s = policy.engine_check_every_s
        if missed:
            pause_s = max(0.0, policy.engine_check_timeout_s - took_s)


async def _until_stuck(server: EngineServer, gateway: Gateway, policy: Policy) -> None:
    """Return once requests wait, nothing comes, and no runner does anything."""
    loop = asyncio.get_running_loop()
    before: tuple[object, ...] = ()
    since = loop.time()
    while True:
        await asyncio.sleep(policy.engine_check_every_s)
        effort: tuple[object, ...] = ()
        if server.identity is not None and gateway.waits_for_engine:
            effort = await asyncio.to_thread(effort_of, server.identity.pid)
        now = (effort, gateway.metrics.bytes_out)
        if not effort or now != before:
            before, since = now, loop.time()
        elif loop.time() - since >= policy.engine_stuck_s:
            return
