"""Our gateway in a process of its own, made and run as the host makes and runs it.

``python -m tests.benchmarks.our_gateway`` reads ``{"key", "engine_url", "log"}`` as
one line on standard input, prints its port, and serves until that input ends.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from pathlib import Path
from typing import Any

import uvloop

from spicy_avocado_magic.config.limits import Limits
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.gateway.access_log import AccessLog
from spicy_avocado_magic.gateway.app import Gateway
from spicy_avocado_magic.gateway.authorization import AccessPolicy
from spicy_avocado_magic.system.redaction import Secret

_BOUNDS = (("concurrent", 1024.0), ("unauthenticated", 1024.0))
"""Of the usual bounds, those that 512 streams opened in one go would meet."""


async def _serve(output: dict[str, Any]) -> None:
    key, policy = output["key"], Timeouts()
    log = AccessLog(Path(output["log"]), flush_every_s=policy.access_log_every_s)
    gateway = Gateway(
        access=AccessPolicy(
            key=Secret(key), public_host="spicy.ngrok.app", models=("tiny", "llama3")
        ),
        timeouts=policy,
        probe_secret=secrets.token_bytes(32),
        limits=Limits.from_timeouts(policy, _BOUNDS),
        log=log,
    )
    gateway.set_upstream(output["engine_url"])
    url = await gateway.start()
    sys.stdout.write(url.rsplit(":", 1)[1] + "\n")
    sys.stdout.flush()
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)
    await gateway.stop(0.1)
    log.flush()


def main() -> None:
    """Serve as the host does: on the loop that it makes."""
    uvloop.run(_serve(json.loads(sys.stdin.readline())))


if __name__ == "__main__":
    main()
