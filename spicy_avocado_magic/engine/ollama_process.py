"""The ``ollama serve`` process: its start, environment, health, runners and end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

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
from .ollama_api import OllamaApi

_PORT_TRIES: Final = 3
_PORT_TAKEN: Final = "address already in use"


@dataclass(slots=True, kw_only=True)
class OllamaProcess:
    """One run of ``ollama serve``; a restart needs a new object.

    Call ``stop`` after ``start``, also when ``start`` failed.
    """

    executable: Path
    models_dir: Path
    """The folder of the models; created if missing."""
    log: ProcessLog
    """Receives the process's output."""
    settings: Settings
    """Of these, context, keep-alive and the engine's variables."""
    timeouts: Timeouts
    on_spawn: Callable[[Identity], None]
    """Called at once with the identity, so that the reaper can end the process."""
    library_path: Sequence[str] = ()
    """Folders for ``LD_LIBRARY_PATH``, such as where the platform has libcuda.so.1."""
    identity: Identity | None = field(default=None, init=False)
    """The process's identity; None before ``start``."""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _port: int = field(default=0, init=False)

    @property
    def base_url(self) -> str:
        """The server's URL on loopback."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def api(self) -> OllamaApi:
        """A client of this server."""
        return OllamaApi(self.base_url, self.timeouts)

    async def start(self) -> None:
        """Start the process and wait until it answers.

        Raises:
            EngineFailed: With the last log lines, if it exits or does not answer.
        """
        for attempt in range(_PORT_TRIES):
            self._port = free_port(DEFAULT_PORT if attempt == 0 else 0)
            self._spawn()
            await self._wait_ready()
            if self._process is not None and self._process.poll() is None:
                return
            if _PORT_TAKEN not in "".join(self.log_tail(LOG_LINES_SHOWN)).lower():
                raise self._failed("Ollama exited while it was starting.")
            await self.stop(0)
        raise self._failed("Other programs keep taking Ollama's port.")

    def _spawn(self) -> None:
        """Start the process; not in a thread, which would outlive a cancel."""
        self.models_dir.mkdir(parents=True, exist_ok=True)
        self.log.start_section()
        with self.log.path.open("ab") as log:
            try:
                self._process = spawn(
                    [str(self.executable), "serve"],
                    log=log,
                    env=ollama_environ(
                        self.settings,
                        port=self._port,
                        models_dir=self.models_dir,
                        library_path=self.library_path,
                        environ=os.environ | {"HOME": str(home_folder())},
                    ),
                )
            except OSError as error:
                raise EngineFailed(
                    f"{self.executable} cannot be started ({error.strerror}).",
                    "Reinstall ollama, or remove it from PATH to have it downloaded.",
                ) from error
        self.identity = identify(self._process.pid)
        if self.identity is not None:
            self.on_spawn(self.identity)

    async def _wait_ready(self) -> None:
        """Return when the server answers, or has exited.

        Raises:
            EngineFailed: If it does neither in time.
        """
        tasks = (
            asyncio.create_task(self._wait_answer()),
            asyncio.create_task(self.wait_exit()),
        )
        try:
            done, _ = await asyncio.wait(
                tasks,
                timeout=self.timeouts.engine_start_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
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
        """Return whether this process, and no other on the port, answers.

        Requests hang while the engine looks for GPUs, so the time-out is long.
        """
        is_up = await self.api.is_healthy(self.timeouts.engine_start_s)
        if not is_up or self._process is None:
            return False
        return await asyncio.to_thread(is_listening, self._process.pid, self._port)

    async def is_healthy(self) -> bool:
        """Return whether the server answers a health check in time."""
        return await self.api.is_healthy(self.timeouts.engine_check_timeout_s)

    async def wait_exit(self) -> None:
        """Return when the process has exited; at once if there is none."""
        if self._process is not None:
            await wait_exit(self._process)

    async def stop(self, grace_s: float) -> None:
        """Terminate the process and its runners: TERM, ``grace_s`` seconds, then KILL.

        Call it also after the process exited by itself: its runners may still run
        and hold GPU memory. A cancellation still kills the group.
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
            async with asyncio.timeout(self.timeouts.engine_stop_s):
                await self.wait_exit()
        self._process = None

    @property
    def exit_text(self) -> str:
        """How the process exited, such as ``status 1`` or ``signal 9``."""
        code = self._process.poll() if self._process else None
        if code is None:
            return "still running"
        return f"signal {-code}" if code < 0 else f"status {code}"

    def detected_devices(self) -> DetectedDevices:
        """Return the devices that its log reports."""
        return parse_devices(self.log.head())

    def log_tail(self, count: int) -> list[str]:
        """Return the last lines of this run's log, oldest first."""
        return [strip_control_chars(line) for line in self.log.tail(count)]

    def _failed(self, problem: str) -> EngineFailed:
        return EngineFailed(
            problem,
            "Its last log lines are below. Run %avocado_up --restart to try again.",
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
    """Return the environment of ``ollama serve``.

    Proxy variables are passed on, since the engine sometimes pulls by itself. The
    user's ``OLLAMA_*`` for another server are not, nor are the tunnel's variables.
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
"""Ollama's port, which tools expect (https://docs.ollama.com/faq)."""


def free_port(wanted: int) -> int:
    """Return ``wanted`` if it is free on loopback, else any free port.

    Raises:
        EngineFailed: If no port is free.
    """
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return int(probe.getsockname()[1])
    raise EngineFailed(
        "No port is free on this machine.", "End programs that use very many ports."
    )


def is_listening(pid: int, port: int) -> bool:
    """Return whether a process listens on a port; True if that is hidden; blocks."""
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


def runner_activity(pid: int) -> tuple[tuple[int, float, int], ...]:
    """Return the CPU time and reads so far of each child of the engine, sorted by pid.

    Two equal results mean that no runner used CPU or read anything in between: a model
    that loads reads, one that generates computes. The engine itself is left out, since
    it answers health checks all the time.

    Returns:
        Pid, seconds of CPU and count of reads (0 where the system does not report it).
        Empty without a runner, and while one waits for a disk: pages of a model on a
        slow mounted drive are read without a call that is counted.
    """
    activity = []
    try:
        runners = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return ()
    for runner in runners:
        with contextlib.suppress(psutil.Error):
            if runner.status() == psutil.STATUS_DISK_SLEEP:
                return ()
            cpu, reads = runner.cpu_times(), 0
            with contextlib.suppress(psutil.Error, AttributeError):
                reads = runner.io_counters().read_count
            activity.append((runner.pid, cpu.user + cpu.system, reads))
    return tuple(sorted(activity))
