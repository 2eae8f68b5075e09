"""Workarounds for pyngrok 9: its log, pipes, proxies, process and blocking calls."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable
from typing import TypeVar

import aiohttp
from pyngrok import process
from pyngrok.conf import PyngrokConfig
from pyngrok.process import NgrokProcess

# pyngrok logs each line of the agent, which may contain a refused token; without a
# handler, Python prints the errors among them.
logging.getLogger("pyngrok").setLevel(logging.CRITICAL + 1)


def running_agent(config: PyngrokConfig) -> NgrokProcess | None:
    """Return the agent process that pyngrok started for this configuration, if any."""
    # pyngrok's public functions start another agent, or wait for this one.
    return process._current_processes.get(config.ngrok_path)  # noqa: SLF001


def close_agent_pipe(running: NgrokProcess, wait_s: float) -> None:
    """Close the pipe from an agent that has ended, which pyngrok never closes."""
    monitor = running._monitor_thread  # noqa: SLF001  (it reads the pipe)
    if monitor is not None:
        monitor.join(wait_s)
    if running.proc.stdout is not None and not (monitor and monitor.is_alive()):
        running.proc.stdout.close()


def bypass_proxy_for_loopback() -> None:
    """Exclude the agent's API from the proxy of the environment, which pyngrok uses."""
    names = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if "127.0.0.1" not in names.split(","):
        os.environ["no_proxy"] = f"{names},127.0.0.1".lstrip(",")


async def is_alive(api_url: str, timeout_s: float) -> bool:
    """Return whether the agent's API answers in time.

    It also answers while the agent has no connection to ngrok's edge.
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


T = TypeVar("T")


def in_daemon_thread(call: Callable[[], T]) -> asyncio.Future[T]:
    """Run a blocking call in a thread that does not delay the end of the process."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # there is no error

    def run() -> None:
        result, error = None, None
        try:
            result = call()
        except BaseException as raised:  # noqa: BLE001  (passed to the caller)
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="pyngrok", daemon=True).start()
    return future
