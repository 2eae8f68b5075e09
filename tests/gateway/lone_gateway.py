"""A gateway in a process of its own, so that its memory can be measured.

``python -m tests.gateway.lone_gateway ENGINE_URL`` prints its port and serves until
its standard input ends.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import replace
from typing import Final

from spicy_avocado_magic.config.api_keys import ApiKey
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.gateway.app import Gateway

from .conftest import OWNER, PROBE_SECRET, bounds

GREEDY: Final = ApiKey(name="greedy", secret="greedy-key-0123456789")
LIMITS: Final = bounds(
    head_wait_s=1.0,
    body_wait_s=2.0,
    unread_s=2.0,
    body_bytes=8 * 2**20,
    bodies_bytes=32 * 2**20,
    concurrent=16,
    queue=16,
    unauthenticated=64,
)


async def _serve(engine_url: str) -> None:
    gateway = Gateway(
        access=replace(OWNER, named=(GREEDY,)),
        timeouts=Timeouts(),
        probe_secret=PROBE_SECRET,
        log=lambda line: None,
        limits=LIMITS,
    )
    gateway.set_upstream(engine_url)
    sys.stdout.write(await gateway.start() + "\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await gateway.stop(0)


if __name__ == "__main__":
    logging.basicConfig()  # failures are logged in full
    asyncio.run(_serve(sys.argv[1]))
