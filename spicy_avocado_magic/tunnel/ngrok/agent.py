"""The process of the ngrok agent, started and stopped through pyngrok.

pyngrok's calls block, some without a time limit, so each runs in a daemon thread and is
unblocked by ending the agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final, TypeVar

from pyngrok import ngrok
from pyngrok.conf import PyngrokConfig
from pyngrok.exception import PyngrokError
from pyngrok.log import NgrokLog
from pyngrok.process import NgrokProcess

from ...config.timeouts import Timeouts
from ...errors import LOG_LINES_SHOWN, AvocadoError, NetworkUnreachable, TunnelFailed
from ...system.processes import Identity, end_group, find_by_argument, identify
from ...system.redaction import Redactor
from ..provider import SessionEvent, Tunnel, TunnelEvents
from .config import read_token, write_script
from .error_codes import code_of, to_error, without_token
from .install import program_path
from .pyngrok_workarounds import (
    bypass_proxy_for_loopback,
    close_agent_pipe,
    in_daemon_thread,
    is_alive,
    running_agent,
)

T = TypeVar("T")

_ENDPOINT_NAME: Final = "avocado"
_SPAWN_CHECK_EVERY_S: Final = 0.01
_UNBLOCK_S: Final = 2.0
"""Time limit for pyngrok to notice that its agent has ended."""


def session_event(line: str) -> SessionEvent | None:
    """Return the event of the session that a line of the agent's log reports."""
    if "session closed, starting reconnect loop" in line:
        return "lost"
    return "established" if "client session established" in line else None


class NgrokAgent(Tunnel):
    """One agent process at a time, with one endpoint.

    Args:
        program: The agent's path; empty is where pyngrok keeps its own.
        config_path: What ``write_config`` wrote; its folder gets a small script.
        timeouts: Time limits.
        events: Callbacks; lines do not contain the token.
    """

    def __init__(
        self,
        *,
        program: str,
        config_path: Path,
        timeouts: Timeouts,
        events: TunnelEvents,
    ) -> None:
        self._program = program_path(program)
        self._config_path = config_path
        self._timeouts = timeouts
        self._events = events
        self._redact = Redactor()
        self._tail: deque[str] = deque(maxlen=LOG_LINES_SHOWN)
        self._config: PyngrokConfig | None = None
        self._idle = threading.Event()
        self._idle.set()
        self._running: NgrokProcess | None = None
        self._identity: Identity | None = None
        self._exited: asyncio.Future[int] | None = None
        self._ending: asyncio.Future[None] | None = None

    async def connect(
        self,
        upstream_url: str,
        *,
        domain: str = "",
        pool: bool = False,
        traffic_policy: str = "",
    ) -> str:
        """Start the agent, create its endpoint and return the public URL.

        An agent of this configuration that still runs is ended first. If this fails
        or is cancelled, no process is left.

        Args:
            upstream_url: URL of the gateway.
            domain: Host name to request; empty is the account's fixed one.
            pool: Share the URL with other agents that also pool.
            traffic_policy: Traffic Policy document for the edge; empty is none.

        Raises:
            InvalidToken, EndpointUnavailable, UserActionRequired: If ngrok refuses
                the token or the endpoint.
            TrafficPolicyRejected: If it refuses only the Traffic Policy.
            NetworkUnreachable: If it cannot be reached.
            TunnelFailed: If the agent fails otherwise.
        """
        await self.close(0)
        await asyncio.to_thread(self._end_stale)
        options: dict[str, Any] = {"name": _ENDPOINT_NAME, "inspect": False}
        if domain:
            options["url"] = f"https://{domain}"
        if pool:
            options["pooling_enabled"] = True
        if traffic_policy:
            options["traffic_policy"] = traffic_policy
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self.close, self._timeouts.tunnel_stop_s)
            with self._map_errors():
                config = self._config = self._prepare()
                async with asyncio.timeout(self._timeouts.agent_start_s):
                    await self._spawn(config)
                    tunnel = await self._call(
                        lambda: ngrok.connect(
                            upstream_url, pyngrok_config=config, **options
                        )
                    )
            undo.pop_all()
        return str(tunnel.public_url)

    async def is_healthy(self) -> bool:
        """Return whether the agent's local API answers in time."""
        api_url = self._running.api_url if self._running else None
        return await is_alive(api_url or "", self._timeouts.agent_check_timeout_s)

    async def wait_exit(self) -> None:
        """Return as soon as the agent's process has ended; at once without one."""
        if self._exited is not None:
            await asyncio.shield(self._exited)

    async def close(self, grace_s: float) -> None:
        """End the agent, if any: SIGTERM, then SIGKILL after ``grace_s``."""
        if self._config is not None:
            config, self._config = self._config, None
            self._ending = in_daemon_thread(lambda: self._end(config, grace_s))
        if self._ending is not None:
            await asyncio.shield(self._ending)

    def _end_stale(self) -> None:
        """End an agent of an earlier daemon, which still has our URL (334)."""
        for stale in find_by_argument(str(self._config_path)):
            end_group(stale, grace_s=self._timeouts.tunnel_stop_s)

    def _prepare(self) -> PyngrokConfig:
        """Write the script that pyngrok starts, and return pyngrok's configuration."""
        script = self._config_path.with_suffix(".sh")
        write_script(script, self._program)
        bypass_proxy_for_loopback()
        self._redact = Redactor([read_token(self._config_path)])
        self._tail.clear()
        self._running = self._identity = self._exited = None
        loop = asyncio.get_running_loop()

        def on_log(log: NgrokLog) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(self._on_line, log.line)

        config = PyngrokConfig(
            ngrok_path=str(script),
            config_path=str(self._config_path),
            log_event_callback=on_log,
            startup_timeout=math.ceil(self._timeouts.agent_start_s),
            # As long as our own: a request that pyngrok abandons may still succeed.
            request_timeout=self._timeouts.agent_start_s,
            start_new_session=True,
        )
        config.auth_token = config.api_key = None  # it reads the environment for them
        return config

    def _on_line(self, line: str) -> None:
        line = self._redact(line)
        self._tail.append(line)
        self._events.on_line(line)
        if (event := session_event(line)) is not None:
            self._events.on_session(event)

    def _call(self, call: Callable[[], T]) -> asyncio.Future[T]:
        self._idle.clear()

        def run() -> T:
            try:
                return call()
            finally:
                self._idle.set()

        return in_daemon_thread(run)

    async def _spawn(self, config: PyngrokConfig) -> None:
        """Start the agent, and report its process as soon as it exists."""
        start = self._call(lambda: ngrok.get_ngrok_process(config))
        running = None
        while running is None and not start.done():
            await asyncio.wait([start], timeout=_SPAWN_CHECK_EVERY_S)
            running = running_agent(config)
        if running is not None:
            self._running = running
            self._exited = in_daemon_thread(running.proc.wait)
            self._identity = identify(running.proc.pid)
            if self._identity is not None:
                self._events.on_spawn(self._identity)
        await start

    def _end(self, config: PyngrokConfig, grace_s: float) -> None:
        """End the agent's process group and remove it from pyngrok. Blocking."""
        deadline = time.monotonic() + grace_s + _UNBLOCK_S
        while True:
            idle = self._idle.is_set()
            running = self._running or running_agent(config)
            identity = self._identity or (running and identify(running.proc.pid))
            if identity:
                end_group(identity, grace_s=grace_s)
            if idle or time.monotonic() > deadline:
                break
            # A start in progress may spawn its agent only now.
            self._idle.wait(_SPAWN_CHECK_EVERY_S)
        if idle:
            ngrok.kill(config)
        if running is not None:
            close_agent_pipe(running, _UNBLOCK_S)
        Path(config.ngrok_path).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _map_errors(self) -> Iterator[None]:
        """Map errors of pyngrok and of the agent's HTTP API to ours."""
        try:
            yield
        except TimeoutError as error:
            output = "\n".join(self._tail)
            limit_s = self._timeouts.agent_start_s
            problem = f"The ngrok agent was not ready within {limit_s:g} s."
            raise self._to_error(output, problem) from error
        except PyngrokError as error:
            refusal = getattr(error, "body", "") or getattr(error, "ngrok_error", "")
            output = refusal or "\n".join(self._tail)
            problem = f"The ngrok agent failed: {error}"
            raise self._to_error(output, problem) from error
        except (OSError, HTTPException, ValueError) as error:
            problem = f"The ngrok agent could not be started or controlled: {error}."
            raise self._to_error("", problem) from error

    def _to_error(self, output: str, problem: str) -> AvocadoError:
        """Return the error of ngrok's code in the output, else one with the problem."""
        tail = tuple(self._tail)
        error = to_error(output, log_tail=tail)
        if code_of(output) is not None or isinstance(error, NetworkUnreachable):
            return error
        return TunnelFailed(
            self._redact(without_token(problem)),
            "It is retried automatically. If it keeps failing, read the log with "
            "%avocado_logs tunnel.",
            log_tail=tail,
        )
