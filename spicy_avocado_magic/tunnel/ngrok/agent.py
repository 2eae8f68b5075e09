"""The ngrok agent: started, watched and ended through pyngrok, and never in its way.

pyngrok's calls block, some without a limit, so each runs in a daemon thread and is
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
"""Longest wait for pyngrok to notice that its agent has ended."""


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

        Whatever ran with this configuration before is ended first; if this fails or
        is cancelled, nothing is left running.

        Args:
            upstream_url: Where the public URL leads to, such as the gateway.
            domain: The host name to ask for; empty is the account's fixed one.
            pool: Share the URL with other agents that also pool.
            traffic_policy: What the edge does with requests; empty lets all pass.

        Raises:
            InvalidToken, EndpointUnavailable: If the service says no.
            TrafficPolicyRejected: If it says no to the policy alone.
            NetworkUnreachable: If it cannot be reached.
            TunnelFailed: If the agent does not do as it should.
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
            with self._explained():
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
        """Whether its local API answers in time."""
        api_url = self._running.api_url if self._running else None
        return await is_alive(api_url or "", self._timeouts.agent_check_timeout_s)

    async def wait_exit(self) -> None:
        """Return as soon as the agent's process has ended, or if none was started."""
        if self._exited is not None:
            await asyncio.shield(self._exited)

    async def close(self, grace_s: float) -> None:
        """End the agent: TERM, and KILL after ``grace_s``; a no-op without one."""
        if self._config is not None:
            config, self._config = self._config, None
            self._ending = in_daemon_thread(lambda: self._end(config, grace_s))
        if self._ending is not None:
            await asyncio.shield(self._ending)

    def _end_stale(self) -> None:
        """End an agent of a life before, which would hold our URL (334)."""
        for stale in find_by_argument(str(self._config_path)):
            end_group(stale, grace_s=self._timeouts.tunnel_stop_s)

    def _prepare(self) -> PyngrokConfig:
        """Write the script that pyngrok takes for the agent, and its settings."""
        script = self._config_path.with_suffix(".sh")
        write_script(script, self._program)
        bypass_proxy_for_loopback()
        self._redact = Redactor([read_token(self._config_path)])
        self._tail.clear()
        self._running = self._identity = self._exited = None
        loop = asyncio.get_running_loop()

        def hear(log: NgrokLog) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed
                loop.call_soon_threadsafe(self._hear, log.line)

        config = PyngrokConfig(
            ngrok_path=str(script),
            config_path=str(self._config_path),
            log_event_callback=hear,
            startup_timeout=math.ceil(self._timeouts.agent_start_s),
            # No shorter than our own: a request that pyngrok gives up may succeed.
            request_timeout=self._timeouts.agent_start_s,
            start_new_session=True,
        )
        config.auth_token = config.api_key = None  # it reads them in the environment
        return config

    def _hear(self, line: str) -> None:
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
        """Start the agent, and tell who it is as soon as there is a process."""
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
        """End the agent's group and let pyngrok forget it. Blocking."""
        deadline = time.monotonic() + grace_s + _UNBLOCK_S
        while True:
            idle = self._idle.is_set()
            running = self._running or running_agent(config)
            identity = self._identity or (running and identify(running.proc.pid))
            if identity:
                end_group(identity, grace_s=grace_s)
            if idle or time.monotonic() > deadline:
                break
            # A start under way may spawn its agent only now.
            self._idle.wait(_SPAWN_CHECK_EVERY_S)
        if idle:
            ngrok.kill(config)
        if running is not None:
            close_agent_pipe(running, _UNBLOCK_S)
        Path(config.ngrok_path).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what pyngrok and the agent's HTTP API raise into our errors."""
        try:
            yield
        except TimeoutError as error:
            said = "\n".join(self._tail)
            limit_s = self._timeouts.agent_start_s
            problem = f"The ngrok agent was not ready within {limit_s:g} s."
            raise self._failure(said, problem) from error
        except PyngrokError as error:
            refusal = getattr(error, "body", "") or getattr(error, "ngrok_error", "")
            said = refusal or "\n".join(self._tail)
            raise self._failure(said, f"The ngrok agent failed: {error}") from error
        except (OSError, HTTPException, ValueError) as error:
            problem = f"The ngrok agent could not be started or asked: {error}."
            raise self._failure("", problem) from error

    def _failure(self, said: str, problem: str) -> AvocadoError:
        """Return what ngrok said, if that is known, else the problem as we saw it."""
        tail = tuple(self._tail)
        explained = to_error(said, log_tail=tail)
        if code_of(said) is not None or isinstance(explained, NetworkUnreachable):
            return explained
        return TunnelFailed(
            self._redact(without_token(problem)),
            "It is tried again by itself; if it stays, read the log that "
            "%avocado_status names.",
            log_tail=tail,
        )
