"""One ``ollama serve`` of our own: started, watched, ended with all its runners."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import aiohttp
import psutil
from tenacity import (
    AsyncRetrying,
    retry_if_result,
    stop_never,
    wait_exponential,
)

from ..config.settings import Settings
from ..config.timeouts import Timeouts
from ..config.tunnel import TUNNEL
from ..errors import LOG_LINES_SHOWN, EngineFailed
from ..system.paths import home_folder
from ..system.process_log import ProcessLog
from ..system.processes import Identity, identify, signal_group, spawn, wait_exit
from ..system.redaction import strip_control_chars
from .hardware.gpu_offload import DetectedDevices, parse_devices

_PORT_TRIES: Final = 3
_PORT_TAKEN: Final = "address already in use"


class OllamaProcess:
    """One life of the engine; make a new one for the next life.

    Whoever calls ``start`` must call ``stop``, also when ``start`` failed.

    Args:
        executable: The ``ollama`` program.
        models_dir: Where models are; made if it is not there.
        log: Where its output is appended to.
        settings: Of these, context, keep-alive and the engine's variables.
        policy: The waits.
        on_spawn: Told at once who the process is, so that it can be guarded.
        library_path: Folders to add to ``LD_LIBRARY_PATH``, such as where this
            platform keeps ``libcuda.so.1``.
    """

    def __init__(
        self,
        *,
        executable: Path,
        models_dir: Path,
        log: ProcessLog,
        settings: Settings,
        policy: Timeouts,
        on_spawn: Callable[[Identity], None],
        library_path: Sequence[str] = (),
    ) -> None:
        self._executable = executable
        self._models_dir = models_dir
        self._log = log
        self._settings = settings
        self._policy = policy
        self._on_spawn = on_spawn
        self._library_path = tuple(library_path)
        self._process: subprocess.Popen[bytes] | None = None
        self._identity: Identity | None = None
        self._port = 0

    @property
    def base_url(self) -> str:
        """Where it answers, on loopback."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def identity(self) -> Identity | None:
        """Who the process is; None before ``start``."""
        return self._identity

    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            EngineFailed: With the last lines of its log, if it dies or stays silent.
        """
        for attempt in range(_PORT_TRIES):
            self._port = free_port(DEFAULT_PORT if attempt == 0 else 0)
            self._spawn()
            await self._wait_ready()
            if self._process is not None and self._process.poll() is None:
                return
            if _PORT_TAKEN not in "".join(self.log_tail(LOG_LINES_SHOWN)).lower():
                raise self._failed("Ollama ended while it was starting.")
            await self.stop(0)
        raise self._failed("Other programs keep taking the port of Ollama.")

    def _spawn(self) -> None:
        """Start the process; not in a thread, which a cancel would leave behind."""
        self._models_dir.mkdir(parents=True, exist_ok=True)
        self._log.start_section()
        with self._log.path.open("ab") as log:
            try:
                self._process = spawn(
                    [str(self._executable), "serve"],
                    log=log,
                    env=ollama_environ(
                        self._settings,
                        port=self._port,
                        models_dir=self._models_dir,
                        library_path=self._library_path,
                        environ=os.environ | {"HOME": str(home_folder())},
                    ),
                )
            except OSError as error:
                raise EngineFailed(
                    f"{self._executable} cannot be started ({error.strerror}).",
                    "Reinstall ollama, or take it off PATH to have one fetched.",
                ) from error
        self._identity = identify(self._process.pid)
        if self._identity is not None:
            self._on_spawn(self._identity)

    async def _wait_ready(self) -> None:
        """Return when the engine answers, or has ended.

        Raises:
            EngineFailed: If it does neither in time.
        """
        answer = asyncio.create_task(self._wait_answer())
        ending = asyncio.create_task(self.wait_exit())
        both = (answer, ending)
        try:
            done, _ = await asyncio.wait(
                both,
                timeout=self._policy.engine_start_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        if not done:
            raise self._failed("Ollama was started but does not answer.")
        for task in done:
            task.result()

    async def _wait_answer(self) -> None:
        retrying = AsyncRetrying(
            retry=retry_if_result(lambda is_up: not is_up),
            wait=wait_exponential(multiplier=0.02, max=0.5),
            stop=stop_never,
        )
        await retrying(self._answers)

    async def _answers(self) -> bool:
        """Whether it answers now; a stranger on the same port does not count.

        Requests hang while the engine looks for GPUs, so nothing is cut short.
        """
        is_up = await self._version_within(self._policy.engine_start_s)
        if not is_up or self._process is None:
            return False
        return await asyncio.to_thread(is_listening, self._process.pid, self._port)

    async def is_healthy(self) -> bool:
        """Whether it answers a health check in time."""
        return await self._version_within(self._policy.engine_check_timeout_s)

    async def _version_within(self, timeout_s: float) -> bool:
        url = f"{self.base_url}/api/version"
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(url) as response,
            ):
                await response.read()
                return response.ok
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            return False

    async def wait_exit(self) -> None:
        """Return when the process has ended; at once if there is none."""
        if self._process is not None:
            await wait_exit(self._process)

    async def stop(self, grace_s: float) -> None:
        """End it and all its runners: TERM, ``grace_s`` seconds, then KILL.

        Also to be called when it ended by itself, since its runners may live on
        and keep their GPU memory. A cancel in the middle still kills the group.
        """
        process = self._process
        if process is None:
            return
        try:
            signal_group(process.pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self.wait_exit()
        finally:
            signal_group(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._policy.engine_stop_s):
                await self.wait_exit()
        self._process = None

    @property
    def exit_text(self) -> str:
        """How the process ended, such as ``status 1`` or ``signal 9``."""
        code = self._process.poll() if self._process else None
        if code is None:
            return "it runs"
        return f"signal {-code}" if code < 0 else f"status {code}"

    def log_head(self) -> str:
        """Return the first half megabyte of this life's log."""
        return self._log.head()

    def compute(self) -> DetectedDevices:
        """Return what its log says that it computes on."""
        return parse_devices(self.log_head())

    def log_size(self) -> int:
        """Return how many bytes of log there are, for a later ``log_since``."""
        return self._log.size()

    def log_since(self, position: int) -> str:
        """Return what was logged after a position, its last half megabyte at most."""
        return self._log.since(position)

    def log_tail(self, count: int) -> list[str]:
        """Return the last lines of this life's log, oldest first."""
        return [strip_control_chars(line) for line in self._log.tail(count)]

    def _failed(self, problem: str) -> EngineFailed:
        return EngineFailed(
            problem,
            "Its last log lines are below; %avocado_up --restart starts anew.",
            log_tail=self.log_tail(LOG_LINES_SHOWN),
        )


_FOREIGN: Final = ("OLLAMA_", "AVOCADO_", TUNNEL.variable_prefix)
_LIBRARY_PATH: Final = "LD_LIBRARY_PATH"


def ollama_environ(
    settings: Settings,
    *,
    port: int,
    models_dir: Path,
    library_path: Sequence[str],
    environ: Mapping[str, str],
) -> dict[str, str]:
    """Return what ``ollama serve`` is started with.

    Proxy variables pass through, since the engine pulls by itself at times. What
    the user set for an Ollama elsewhere does not, nor does anything of the tunnel.
    """
    kept = {k: v for k, v in environ.items() if not k.startswith(_FOREIGN)}
    if library_path:
        folders = [*kept.get(_LIBRARY_PATH, "").split(os.pathsep), *library_path]
        kept[_LIBRARY_PATH] = os.pathsep.join(dict.fromkeys(filter(None, folders)))
    wanted = {"OLLAMA_KEEP_ALIVE": "-1"} | settings.engine_variables()
    ours = {
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(models_dir),
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_NOPRUNE": "1",
    }
    return kept | wanted | ours


DEFAULT_PORT: Final = 11434
"""Where tools look for Ollama (https://docs.ollama.com/faq)."""


def free_port(wanted: int) -> int:
    """Return ``wanted`` if it is free on loopback, else any port that is.

    Raises:
        EngineFailed: If there is none.
    """
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise EngineFailed(
        "No port is free on this machine.", "End programs that hold very many."
    )


def is_listening(pid: int, port: int) -> bool:
    """Whether this process listens there; True where we may not see. Blocking."""
    try:
        process = psutil.Process(pid)
        # Renamed in psutil 6; Colab has 5.9.5.
        name = "net_connections" if psutil.version_info >= (6,) else "connections"
        connections = getattr(process, name)("tcp4")
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    return any(
        connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        for connection in connections
    )
