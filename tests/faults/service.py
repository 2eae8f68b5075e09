"""A running service of its own: real host, pyngrok and agent, in a loopback world."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import psutil
import pytest

from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.protocol.state_folder import StateFolder
from spicy_avocado_magic.rehearsal.fake_ngrok.agent import VERSION as AGENT_VERSION
from spicy_avocado_magic.rehearsal.world import RehearsalWorld
from tests.fault_injection.faults import VARIABLE as FAULTS_VARIABLE
from tests.loop_thread import LoopThread
from tests.machine_speed import scaled, slowdown
from tests.main_job.home import PACKAGE_PARENT, Home, new_home
from tests.real_engines import EXECUTABLES

from .fault import Engine, Fault
from .watching import Watch
from .wire import Wire

T = TypeVar("T")

TOKEN: Final = "2abcdefghijklmnopqrstuvwxyz_0123456789"
_FAULTS: Final = "faults.json"
_UNSCALED: Final = (
    "launch_s",
    "engine_start_s",
    "model_load_s",
    "agent_start_s",
    "request_s",
    "tunnel_stop_s",
    "gateway_stop_s",
    "engine_stop_s",
    "down_s",
    "stable_pause_s",
    "head_wait_s",
)
"""Bounds on what real processes need: dividing them would not make those faster."""


_CALL_S: Final = scaled(30.0)


class LoopbackWorld:
    """The rehearsal's world in a thread, so that a row can reach into it."""

    def __init__(self, folder: Path) -> None:
        self._thread = LoopThread()
        self._world = RehearsalWorld(folder, agent_module="tests.fault_injection.agent")
        self.run(self._world.start())
        self.edge = self._world.edge
        _answer_version_at_once(self._world.endpoints().tunnel_program)
        self.sources = replace(self._world.endpoints(), rehearsal=False)
        """What points the product at it, as if it were the real one."""
        self.wires: dict[str, Wire] = {}
        """Between the product and each part, if they were laid."""

    def lay_wires(self) -> None:
        """Let the product reach each part through a wire that can be cut."""
        now = self.sources
        releases = urlsplit(now.releases_url)
        parts = {
            "releases": releases.netloc,
            "registry": now.registry,
            "edge": now.edge_address,
        }
        for name, address in parts.items():
            self.wires[name] = Wire(address)
            self.run(self.wires[name].restore())
        near = {name: wire.address for name, wire in self.wires.items()}
        self.sources = replace(
            now,
            releases_url=releases._replace(netloc=near["releases"]).geturl(),
            registry=near["registry"],
            edge_address=near["edge"],
        )

    def lose(self) -> None:
        """Cut every wire: there is no network any more."""

        async def lose() -> None:
            for wire in self.wires.values():
                wire.cut()

        self.run(lose())

    def find(self) -> None:
        """Restore every wire."""
        for wire in self.wires.values():
            self.run(wire.restore())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the world's loop and return what it returns."""
        return self._thread.run(work, _CALL_S)

    def sessions(self) -> int:
        """Return how many agents' sessions the edge has."""
        return self.edge.sessions

    def close(self) -> None:
        """End it."""
        for wire in self.wires.values():
            self.run(wire.close())
        self.run(self._world.close())
        self.run(_end_the_rest())
        self._thread.close()


def _answer_version_at_once(program: str) -> None:
    """Let the agent's shell script print its version where no fault is active."""
    path = Path(program)
    first_line, rest = path.read_text().split("\n", maxsplit=1)
    answer = (
        f'[ "$*" = --version ] && [ ! -e "${FAULTS_VARIABLE}" ] '
        f"&& echo ngrok version {AGENT_VERSION} && exit\n"
    )
    path.write_text(f"{first_line}\n{answer}{rest}")


async def _end_the_rest() -> None:
    """End whom the world had just let in when it was closed."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0.01)  # the sockets of these are closed in the loop's next turn


@dataclass(kw_only=True)
class Service:
    """What a row breaks; everything in it belongs to this row alone."""

    fault: Fault
    home: Home
    world: LoopbackWorld
    timeouts: Timeouts
    is_stand_in: bool
    folder: StateFolder
    avocado: Avocado = field(init=False)
    watch: Watch = field(init=False)
    broken_at: float = 0.0
    bare_s: float = 0.0
    """How long the first ``up`` took, from nothing to ready."""
    user: Any = None
    """Who brought it up, where that was not the matrix itself; a row's own."""
    undo: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """What a row's faults need at the end, whatever came of it."""

    def up(self, *models: str, **options: Any) -> Avocado:
        """Do what ``%avocado_up`` does."""
        sources = self.world.sources
        return self.home.up(*models, sources=sources, policy=self.timeouts, **options)

    def mark(self) -> None:
        """Let the clock start now, in place of when the row was called."""
        self.broken_at = time.monotonic()

    def state(self) -> State:
        """Return the host's present state."""
        state = self.avocado.status()
        assert state is not None, "the host is gone"
        return state

    @property
    def host(self) -> int:
        """The pid of the host."""
        return self.state().pid

    @property
    def guard(self) -> int:
        """The pid of its guard."""
        return self._with_argument("spicy_avocado_magic.daemon.reaper").pid

    @property
    def engine(self) -> int:
        """The pid of ``ollama serve``."""
        return self._child("engine")

    @property
    def agent(self) -> int:
        """The pid of the ngrok agent."""
        return self._child("agent")

    @property
    def runner(self) -> int:
        """The pid of the engine's process that holds the model."""
        (runner,) = psutil.Process(self.engine).children(recursive=True)
        return runner.pid

    def kill(self, pid: int) -> None:
        """Send SIGKILL, and let the clock start."""
        self.mark()
        os.kill(pid, signal.SIGKILL)

    def freeze(self, pid: int) -> None:
        """Send SIGSTOP, and let the clock start; at the end it goes on again."""
        self.mark()
        os.kill(pid, signal.SIGSTOP)
        self.undo.callback(_thaw, psutil.Process(pid))

    def switch(self, **faults: Any) -> None:
        """Switch faults of stand-in engine and agent (``tests/fault_injection``)."""
        path = self.home.path / _FAULTS
        path.with_suffix(".new").write_text(json.dumps(faults))
        path.with_suffix(".new").replace(path)

    def _child(self, name: str) -> int:
        record = self.folder.read_record()
        assert record is not None, "no record of a running host"
        pids = {child.name: child.identity.pid for child in record.children}
        assert name in pids, f"no {name} in the host's record"
        return pids[name]

    def _with_argument(self, argument: str) -> psutil.Process:
        (only,) = self.home.running(argument)
        return only


def _thaw(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(signal.SIGCONT)


def timeouts_of(fault: Fault) -> Timeouts:
    """Return the product's policy with its waits divided as the row says.

    On a slow machine they are divided by less, as every bound is wider there.
    """
    real = Timeouts()
    kept = {name: scaled(getattr(real, name)) for name in _UNSCALED}
    own: dict[str, Any] = {
        name: scaled(value) if name.endswith("_s") else value
        for name, value in fault.timeouts.items()
    }
    return replace(real.scaled(fault.divisor / slowdown()), **kept | own)


@contextlib.contextmanager
def running(fault: Fault) -> Iterator[Service]:
    """Start the service of a row and yield it with every component ready."""
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in ("NGROK_AUTHTOKEN", "NGROK_API_KEY", "AVOCADO_REHEARSE"):
            patch.delenv(name, raising=False)
        home = stack.enter_context(new_home(patch.setenv))
        (home.path / "bin").mkdir()
        is_stand_in = fault.engine is Engine.STAND_IN or not EXECUTABLES
        program = (
            write_stand_in(home.path, fault.variables)
            if is_stand_in
            else EXECUTABLES[0]
        )
        assert program is not None
        path = os.pathsep.join((str(program.parent), os.environ["PATH"]))
        patch.setenv("PATH", path)
        patch.setenv(FAULTS_VARIABLE, str(home.path / _FAULTS))
        for name, value in fault.variables.items():
            patch.setenv(name, value)
        fault.prepares(home, stack)
        world = LoopbackWorld(home.path / "world")
        stack.callback(world.close)
        service = Service(
            fault=fault,
            home=home,
            world=world,
            timeouts=timeouts_of(fault),
            is_stand_in=is_stand_in,
            folder=StateFolder.find(rehearsal=False),
        )
        stack.enter_context(service.undo)
        began = time.monotonic()
        if fault.brings_up:
            service.avocado = fault.brings_up(service)
        else:
            service.avocado = service.up("tiny", token=TOKEN, **fault.options)
        service.bare_s = time.monotonic() - began
        service.watch = Watch(service.folder)
        stack.callback(service.watch.end)
        yield service


def write_stand_in(home: Path, variables: Mapping[str, str]) -> Path:
    """Write the stand-in engine as a program called ``ollama``.

    Its own variables are in it, since the product passes none of them on.
    """
    own = {k: v for k, v in variables.items() if k.startswith("AVOCADO_REHEARSAL_")}
    own |= {"PYTHONPATH": str(PACKAGE_PARENT), FAULTS_VARIABLE: str(home / _FAULTS)}
    exports = "".join(f"export {k}={shlex.quote(v)}\n" for k, v in own.items())
    program = home / "bin" / "ollama"
    program.write_text(
        f"#!/bin/sh\n{exports}exec {shlex.quote(sys.executable)} -P -m "
        'tests.fault_injection.engine "$@"\n'
    )
    program.chmod(0o700)
    return program
