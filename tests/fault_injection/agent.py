"""The stand-in ngrok agent, with faults: ``python -m tests.fault_injection.agent``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from spicy_avocado_magic.rehearsal.fake_ngrok import agent
from spicy_avocado_magic.rehearsal.fake_ngrok.session_client import log

from .faults import active_faults

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _delay(request: web.Request, handler: _Handler) -> web.StreamResponse:
    await asyncio.sleep(float(active_faults().get("api_s", 0)))
    return await handler(request)


class FaultyAgent(agent.StandInAgent):
    """An agent that floods its log and answers late."""

    async def run(self) -> int:
        """Log the flood first, then run as the stand-in does."""
        for number in range(int(active_faults().get("flood", 0))):
            log("info", "flood", obj="app", number=number)
        return await super().run()

    def create_app(self) -> web.Application:
        """Return the local API behind the delay."""
        app = super().create_app()
        app.middlewares.append(_delay)
        return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run the agent's command line with the version that the faults name."""
    version = str(active_faults().get("agent_version", agent.VERSION))
    return agent.main(argv, FaultyAgent, version)


if __name__ == "__main__":
    sys.exit(main())
