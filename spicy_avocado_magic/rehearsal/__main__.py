"""Entry of the loopback world: ``python -P -m spicy_avocado_magic.rehearsal DIR``.

It prints its addresses as one line of JSON (``settings.Endpoints``). It ends on
SIGTERM, SIGINT, or when its standard input closes, and so with its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from threading import Thread

from ..protocol.json_codec import to_json
from .world import RehearsalWorld


async def main(folder: Path) -> None:
    """Serve until a signal arrives or standard input closes."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    world = RehearsalWorld(folder)
    try:
        await world.start()
        sys.stdout.write(json.dumps(to_json(world.endpoints())) + "\n")
        sys.stdout.flush()
        Thread(target=_await_stdin, args=(loop, ended), daemon=True).start()
        await ended.wait()
    finally:
        await world.close()


def _await_stdin(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    """Set the event when standard input closes.

    It reads the descriptor, since a daemon thread that holds the lock of ``sys.stdin``
    breaks the interpreter's shutdown.
    """
    while os.read(0, 1024):
        pass
    with contextlib.suppress(RuntimeError):  # the loop may have ended first
        loop.call_soon_threadsafe(ended.set)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
