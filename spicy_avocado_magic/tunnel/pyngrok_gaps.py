"""What pyngrok 9 leaves open: its log, its pipes, proxies, and its agent's process."""

from __future__ import annotations

import logging
import os

from pyngrok import process
from pyngrok.conf import PyngrokConfig
from pyngrok.process import NgrokProcess

# pyngrok logs each line of the agent, with a refused token in it, and where
# logging was not set up Python prints the errors among them.
logging.getLogger("pyngrok").setLevel(logging.CRITICAL + 1)


def running_agent(config: PyngrokConfig) -> NgrokProcess | None:
    """Return the agent that pyngrok started for this configuration, if any."""
    # pyngrok's own ways to ask for it start another agent, or wait for this one.
    return process._current_processes.get(config.ngrok_path)  # noqa: SLF001


def close_output(running: NgrokProcess, wait_s: float) -> None:
    """Close the pipe from an agent that has ended, which pyngrok keeps for ever."""
    monitor = running._monitor_thread  # noqa: SLF001  (it reads the pipe)
    if monitor is not None:
        monitor.join(wait_s)
    if running.proc.stdout is not None and not (monitor and monitor.is_alive()):
        running.proc.stdout.close()


def leave_loopback_alone() -> None:
    """Keep a proxy of the environment from pyngrok's calls to the agent's API."""
    names = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    if "127.0.0.1" not in names.split(","):
        os.environ["no_proxy"] = f"{names},127.0.0.1".lstrip(",")
