"""Kernels and terminals of a user, with magics that reach a row's world."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import psutil
from jupyter_client.blocking.client import BlockingKernelClient

from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.protocol.json_codec import to_json
from tests.kernels.kernel import CELL_S, COMMAND, Kernel, Output, new_kernel
from tests.machine_speed import scaled
from tests.main_job.home import PACKAGE_PARENT

from .service import TOKEN, Service

LOAD: Final = "%load_ext spicy_avocado_magic"
UP: Final = f"{LOAD}\nTOKEN = {TOKEN!r}\n%avocado_up tiny --token $TOKEN"
_STARTUP: Final = """\
import functools, json
from spicy_avocado_magic.client import up
from spicy_avocado_magic.protocol.json_codec import from_json
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.config.settings import Endpoints
up.run_up = functools.partial(
    up.run_up,
    sources=from_json(Endpoints, json.loads({sources!r})),
    timeouts=from_json(Timeouts, json.loads({policy!r})),
)
"""
"""What IPython runs first: the magics stay as they are, the world is another."""
_SERVER: Final = """\
import signal, sys
from jupyter_client.manager import KernelManager
manager = KernelManager(kernel_name="python3", connection_file=sys.argv[1])
manager.kernel_spec.argv = sys.argv[2:]
manager.start_kernel()
print("started", flush=True)
signal.pause()
"""
"""What a notebook server is to a kernel: the process of ``JPY_PARENT_PID``."""
_NBCLIENT: Final = """\
import sys, nbclient, nbformat
cells = [nbformat.v4.new_code_cell(source) for source in sys.argv[1:]]
notebook = nbformat.v4.new_notebook(cells=cells)
nbclient.NotebookClient(notebook, timeout={timeout_s}, kernel_name="python3").execute()
"""


def environment(
    service: Service, package_parent: Path = PACKAGE_PARENT
) -> dict[str, str]:
    """Return a user's environment, in which the magics of IPython reach the world."""
    profile = service.home.path / "ipython" / "profile_default" / "startup"
    profile.mkdir(parents=True, exist_ok=True)
    sources = json.dumps(to_json(service.world.sources))
    policy = json.dumps(to_json(service.timeouts))
    startup = _STARTUP.format(sources=sources, policy=policy)
    (profile / "00-world.py").write_text(startup)
    kept = {k: v for k, v in os.environ.items() if k != "JPY_PARENT_PID"}
    return kept | {
        "IPYTHONDIR": str(service.home.path / "ipython"),
        "PYTHONPATH": str(package_parent),
    }


def good(output: Output) -> str:
    """Return the output of a cell.

    Raises:
        AssertionError: If it failed.
    """
    assert output.status == "ok", f"a cell failed: {output.text}"
    return output.text


def failed_in_two_lines(output: Output, *words: str) -> None:
    """A cell failed in two lines that contain these words."""
    assert output.status == "error", f"the cell did not fail: {output.text}"
    for word in words:
        assert word in output.text, f"{word!r} is not in the error: {output.text}"
    assert "Traceback" not in output.text, f"a traceback: {output.text}"


def finds_it(service: Service, kernel: Kernel) -> None:
    """A kernel that has just been started is given the same service."""
    good(kernel.run(LOAD))
    url = service.state().url
    assert good(kernel.run("print(avocado.url)")).strip() == url, "another URL"
    assert url in good(kernel.run("%avocado_status")), "status shows no URL"


def open_kernel(
    service: Service,
    command: Sequence[str] = COMMAND,
    package_parent: Path = PACKAGE_PARENT,
) -> Kernel:
    """Start a kernel that ends with the row."""
    env = environment(service, package_parent)
    kernel = new_kernel(command, env=env, stderr=subprocess.DEVNULL)
    return service.undo.enter_context(kernel)


def up_in(service: Service, kernel: Kernel) -> Avocado:
    """Run ``%avocado_up`` in a kernel, which is the row's user from now on."""
    service.user = kernel
    good(kernel.run(UP))
    return found(service)


def found(service: Service) -> Avocado:
    """Return a handle of what another process has brought up, once it is ready."""
    avocado = Avocado(service.folder, "restored")

    def is_ready() -> bool:
        state = avocado.status()
        return state is not None and state.is_ready and bool(state.url)

    wait_until(is_ready, "the service is not brought up", within_s=CELL_S)
    return avocado


def wait_until(
    is_so: Callable[[], object], otherwise: str, *, within_s: float = scaled(10.0)
) -> None:
    """Wait for something.

    Raises:
        AssertionError: If it does not come.
    """
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, f"{otherwise} within {within_s:g} s"
        time.sleep(0.02)


class ServedKernel(Kernel):
    """A kernel that a server of its own launched, reached as through that server."""

    def __init__(self, service: Service) -> None:
        self.page = lambda _message: None
        file = service.home.path / "kernel.json"
        self.server = start_program(service, ["-c", _SERVER, str(file), *COMMAND])
        assert self.server.stdout is not None
        assert self.server.stdout.readline() == b"started\n", "no server"
        self._client = BlockingKernelClient(connection_file=str(file))
        self._client.load_connection_file()
        self._client.start_channels()
        service.undo.callback(self._client.stop_channels)
        wait_until(self._is_ready, "the kernel does not answer", within_s=CELL_S)

    def _is_ready(self) -> bool:
        """Without a manager, jupyter_client takes a slow start for a death."""
        with contextlib.suppress(RuntimeError):
            self._client.wait_for_ready(timeout=CELL_S)
            return True
        return False


def start_program(
    service: Service, arguments: Sequence[str]
) -> subprocess.Popen[bytes]:
    """Start a Python program of the user's, which ends with the row."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(service),
        cwd=service.home.path,
    )
    service.undo.callback(_end, process)
    return process


def start_notebook_run(service: Service, *cells: str) -> subprocess.Popen[bytes]:
    """Run cells by nbclient, as a scheduled notebook is run."""
    return start_program(
        service, ["-c", _NBCLIENT.format(timeout_s=int(scaled(60))), *cells]
    )


def start_terminal(service: Service) -> subprocess.Popen[bytes]:
    """Start terminal IPython, which reads lines from its standard input."""
    return start_program(service, ["-m", "IPython", "--simple-prompt", "--no-banner"])


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    process.kill()
    process.wait(scaled(5))


def kill_kernel(kernel: Kernel) -> int:
    """Kill -9 a kernel's process, and return its pid; no other is started."""
    pid = int(good(kernel.run("import os; print(os.getpid())")))
    process = psutil.Process(pid)
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: _is_gone(process), "the kernel still runs")
    return pid


def _is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def install_package(folder: Path, *, protocol: int | None = None) -> None:
    """Put this package there as pip would, in place of the one that is there."""
    name = "spicy_avocado_magic"
    shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copytree(
        PACKAGE_PARENT / name,
        folder / name,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    if protocol is not None:
        state = folder / name / "protocol" / "state.py"
        head, line, rest = state.read_text().partition("PROTOCOL: Final = ")
        assert line, "state.py has no protocol number any more"
        state.write_text(f"{head}{line}{protocol}  # was {rest}")
