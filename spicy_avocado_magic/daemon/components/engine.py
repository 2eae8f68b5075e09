"""Engine component: installs, starts and watches the Ollama server."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from ...config.timeouts import Timeouts
from ...engine.hardware.nvidia import list_nvidia_gpus, select_gpu_libraries
from ...engine.install.installer import install
from ...engine.install.release import (
    OllamaInstall,
    find_on_path,
    read_version,
    resolve_version,
)
from ...engine.ollama_api import OllamaApi
from ...engine.ollama_process import OllamaProcess, runner_activity
from ...errors import LOG_LINES_SHOWN, EngineFailed
from ...gateway.app import Gateway
from ...protocol.state import Phase
from ...system.process_log import ProcessLog
from ...system.processes import Identity
from ..context import DaemonContext
from ..restart_loop import Readiness, first_completed


class EngineComponent:
    """Runs the engine, and sets it as the gateway's upstream while it is up."""

    def __init__(self, context: DaemonContext, gateway: Gateway) -> None:
        self._context = context
        self._gateway = gateway
        self.log = ProcessLog(context.folder.log("engine"))
        self._server: OllamaProcess | None = None
        self.executable: Path | None = None
        """The engine's program, which also creates models; None before a start."""
        self._warnings: tuple[str, ...] = ()
        """Warnings about the GPU from before the engine looked for it."""

    @property
    def server(self) -> OllamaProcess | None:
        """The running engine, or None."""
        return self._server

    @property
    def api(self) -> OllamaApi:
        """A client of the running engine; without one its calls fail."""
        return OllamaApi(self.base_url, self._context.timeouts)

    @property
    def base_url(self) -> str:
        """The URL of the running engine, or empty."""
        return self._server.base_url if self._server else ""

    async def run(self, ready: Readiness) -> None:
        """Install and start the engine, and watch it until it exits or hangs."""
        context = self._context
        self._gateway.set_upstream(None)
        installed = await self._install()
        self.executable = installed.path
        context.store.stage("serve", Phase.STARTING, "starting the engine")
        server = OllamaProcess(
            executable=installed.path,
            models_dir=context.models_folder,
            log=self.log,
            settings=context.settings,
            timeouts=context.timeouts,
            on_spawn=self._on_spawn,
            library_path=self._library_path(),
        )
        grace_s = context.timeouts.engine_stop_s
        try:
            await server.start()
            self._server = server
            self._describe(installed, server)
            self._gateway.set_upstream(server.base_url)
            ready.set_ready()
            await first_completed(_until_ended(server), self._until_hung(server))
        except _Hung as hung:
            grace_s = 0.0  # it would not react to SIGTERM
            context.store.fail("engine", hung.error, again=True)
            raise hung.error from None
        finally:
            ready.set_unready()
            self._server = None
            self._gateway.set_upstream(None)
            await server.stop(grace_s)
            context.children.remove("engine")

    def _on_spawn(self, identity: Identity) -> None:
        self._context.children.add("engine", identity)

    def _library_path(self) -> tuple[str, ...]:
        path = self._context.platform.library_path
        return (path,) if path and Path(path).is_dir() else ()

    async def _install(self) -> OllamaInstall:
        store, settings = self._context.store, self._context.settings
        store.stage("install", Phase.STARTING, "looking for ollama")
        self._warnings = ()
        installed = None
        if settings.sources.engine_path:
            path = Path(settings.sources.engine_path)
            installed = await asyncio.to_thread(read_version, path, origin="given")
            if installed is None:
                raise EngineFailed(
                    f"{path} is not an Ollama program.", "Name another program."
                )
        elif not settings.ollama_version:
            installed = await asyncio.to_thread(find_on_path)
        if installed is None:
            installed = await self._install_release()
        origin = f"Ollama {installed.version}, {installed.origin}"
        store.stage("install", Phase.READY, origin)
        return installed

    async def _install_release(self) -> OllamaInstall:
        """Install a release with the libraries that this machine's GPU can use."""
        store, settings = self._context.store, self._context.settings
        releases_url, timeouts = settings.sources.releases_url, self._context.timeouts
        number = await resolve_version(settings.ollama_version, releases_url, timeouts)
        gpus = await asyncio.to_thread(list_nvidia_gpus)
        libraries = select_gpu_libraries(gpus, number)
        if libraries.warning:
            self._warnings = (libraries.warning,)
            store.warn("engine", *self._warnings)
        return await install(
            number,
            releases_url=releases_url,
            engines=self._context.engines_folder,
            timeouts=timeouts,
            gpu_libraries=libraries.folders,
            on_progress=lambda done, total: store.progress("install", done, total),
            on_detail=lambda text: store.stage("install", Phase.STARTING, text),
        )

    def _describe(self, installed: OllamaInstall, server: OllamaProcess) -> None:
        store, compute = self._context.store, server.detected_devices()
        store.update(
            engine=f"Ollama {installed.version}",
            compute=compute.text or "CPU",
        )
        store.warn("engine", *self._warnings, *compute.warnings)
        detail = f"Ollama {installed.version} on {compute.text or 'CPU'}"
        store.stage("serve", Phase.READY, detail)

    async def _until_hung(self, server: OllamaProcess) -> None:
        raise _Hung(
            await wait_until_unresponsive(server, self._gateway, self._context.timeouts)
        )


class _Hung(Exception):
    """The engine runs but does not work."""

    def __init__(self, error: EngineFailed) -> None:
        super().__init__(error)
        self.error = error


async def _until_ended(server: OllamaProcess) -> None:
    await server.wait_exit()
    raise EngineFailed(
        f"The engine ended by itself ({server.exit_text}).",
        "It is restarted automatically; if it keeps ending, try a smaller model.",
        log_tail=server.log_tail(LOG_LINES_SHOWN),
    )


_REMEDY: Final = "It is restarted automatically; requests in progress are lost."


async def wait_until_unresponsive(
    server: OllamaProcess, gateway: Gateway, timeouts: Timeouts
) -> EngineFailed:
    """Return an error once the engine counts as hung."""
    silent = _until_silent(server, timeouts)
    stuck = _until_stuck(server, gateway, timeouts)
    if await first_completed(silent, stuck) == 0:
        misses = timeouts.engine_misses
        problem = f"The engine has not answered {misses} times in a row."
    else:
        problem = (
            "The engine answers no request: the process that runs the model is idle."
        )
    tail = server.log_tail(LOG_LINES_SHOWN)
    return EngineFailed(problem, _REMEDY, log_tail=tail)


async def _until_silent(server: OllamaProcess, timeouts: Timeouts) -> None:
    """Return after ``engine_misses`` failed health checks in a row."""
    missed, pause_s = 0, timeouts.engine_check_every_s
    while missed < timeouts.engine_misses:
        await asyncio.sleep(pause_s)
        began = time.monotonic()
        missed = 0 if await server.is_healthy() else missed + 1
        took_s = time.monotonic() - began
        pause_s = timeouts.engine_check_every_s
        if missed:
            pause_s = max(0.0, timeouts.engine_check_timeout_s - took_s)


async def _until_stuck(
    server: OllamaProcess, gateway: Gateway, timeouts: Timeouts
) -> None:
    """Return once requests wait, no byte arrives, and no runner is active."""
    loop = asyncio.get_running_loop()
    before: tuple[object, ...] = ()
    since = loop.time()
    while True:
        await asyncio.sleep(timeouts.engine_check_every_s)
        effort: tuple[object, ...] = ()
        if server.identity is not None and gateway.is_blocked_on_engine:
            effort = await asyncio.to_thread(runner_activity, server.identity.pid)
        now = (effort, gateway.metrics.bytes_out)
        if not effort or now != before:
            before, since = now, loop.time()
        elif loop.time() - since >= timeouts.engine_stuck_s:
            return
