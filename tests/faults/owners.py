"""Owners of a kernel and versions of the package, for the kernel's rows."""

from __future__ import annotations

import shutil
import time
from typing import Final

import pytest

from spicy_avocado_magic.client import control_client
from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.protocol.state import PROTOCOL
from tests.kernels.kernel import COMMAND
from tests.machine_speed import scaled

from . import kernels
from .kernels import LOAD, UP, failed_in_two_lines, good, open_kernel, up_in, wait_until
from .service import Service

OWNER_GONE_S: Final = 0.5
"""In place of a minute: so that whoever would be taken for the owner by mistake is
missed within a row."""


def up_under_a_server(service: Service) -> Avocado:
    """Bring it up in a kernel of a separate server process."""
    return up_in(service, kernels.ServedKernel(service))


def end_server(service: Service) -> None:
    """Kill it; a server that is back at once would find the service."""
    service.mark()
    service.user.server.kill()
    service.user.server.wait()
    time.sleep(OWNER_GONE_S / 2)
    assert service.avocado.status() is not None, "it did not wait for its owner"


def up_by_nbclient(service: Service) -> Avocado:
    """Bring it up in a notebook that nbclient runs, and that goes on for a while."""
    go = service.home.path / "go"
    waits = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"
    service.user = kernels.start_notebook_run(service, UP, waits)
    return kernels.found(service)


def end_notebook_run(service: Service) -> None:
    """Let the notebook come to its end, and nbclient with it."""
    (service.home.path / "go").touch()
    assert service.user.wait(scaled(10)) == 0, "the notebook failed"
    service.mark()


def up_in_a_terminal(service: Service) -> Avocado:
    """Bring it up in terminal IPython."""
    service.user = kernels.start_terminal(service)
    service.user.stdin.write(f"{UP}\n".encode())
    service.user.stdin.flush()
    return kernels.found(service)


def exit_terminal(service: Service) -> None:
    """Type ``exit``."""
    service.user.stdin.write(b"exit\n")
    service.user.stdin.flush()
    assert service.user.wait(scaled(10)) == 0, "IPython did not exit"
    service.mark()


def up_in_a_shell(service: Service) -> Avocado:
    """Bring it up where a shell stays between the server and the kernel."""
    command = ("bash", "-c", f"{' '.join(COMMAND)}; true")
    return up_in(service, open_kernel(service, command))


def up_in_two_kernels(service: Service) -> Avocado:
    """Two kernels run ``up`` in the same instant: there is one host."""
    both = [open_kernel(service), open_kernel(service)]
    messages = [kernel.send(UP) for kernel in both]
    for kernel, message in zip(both, messages, strict=True):
        good(kernel.collect(message))
    outcomes = [
        good(k.run("print(avocado.outcome, avocado.url)")).split() for k in both
    ]
    assert sorted(outcome for outcome, _ in outcomes) == ["launched", "reused"], (
        outcomes
    )
    assert outcomes[0][1] == outcomes[1][1], "two URLs"
    service.user = both
    return kernels.found(service)


def kill_launcher(service: Service) -> None:
    """Kill the kernel that launched it; the other one keeps it."""
    first, second = service.user
    if "reused" in good(first.run("print(avocado.outcome)")):
        first, second = second, first
    kernels.kill_kernel(first)
    url = service.state().url
    assert url in good(second.run("%avocado_status\nprint(avocado.url)"))


def up_of_an_older_version(service: Service) -> Avocado:
    """Bring it up with a copy of the package that speaks an older protocol."""
    older = PROTOCOL - 1
    site = service.home.path / "site"
    kernels.install_package(site, protocol=older)
    patch = service.undo.enter_context(pytest.MonkeyPatch.context())
    patch.setattr(control_client, "PROTOCOL", older)  # what the matrix itself speaks
    service.user = (open_kernel(service, package_parent=site), patch)
    good(service.user[0].run(UP))
    return kernels.found(service)


def break_while_upgraded(service: Service) -> None:
    """Kill the engine while pip has removed the old package."""
    shutil.rmtree(service.home.path / "site" / "spicy_avocado_magic")
    service.kill(service.engine)


def upgrade(service: Service) -> None:
    """Install the present version; a new kernel asks to replace the host."""
    kernel, patch = service.user
    wait_until(
        lambda: service.state().is_ready, "not repaired without the package's files"
    )
    kernels.install_package(service.home.path / "site")
    kernel.restart()
    assert "another version" in good(kernel.run(LOAD)), "nothing was shown at load"
    failed_in_two_lines(kernel.run("%avocado_status"), "another version", "--restart")
    failed_in_two_lines(kernel.run("%avocado_up tiny"), "another version", "--restart")
    good(kernel.run("%avocado_up --restart"))
    patch.undo()
    service.mark()
