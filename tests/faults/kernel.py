"""The kernel's rows: what happens to a notebook, and to its service then."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any, Final

from spicy_avocado_magic.client.handle import Avocado
from tests.kernels.kernel import Kernel
from tests.machine_speed import scaled

from . import kernels, owners
from .callers import Dialect
from .fault import Act, Fault
from .kernels import (
    UP,
    failed_in_two_lines,
    finds_it,
    good,
    open_kernel,
    up_in,
    wait_until,
)
from .service import Service

_END_S: Final = 5.0
_CALLERS: Final = 2 * len(Dialect)
_SHORT: Final = {"owner_gone_s": owners.OWNER_GONE_S}


def _up_in_a_kernel(service: Service) -> Avocado:
    return up_in(service, open_kernel(service))


def _restart(service: Service) -> None:
    service.user.restart()
    finds_it(service, service.user)


def _restart_hard(service: Service) -> None:
    service.user.kill()
    finds_it(service, service.user)


def _kill(service: Service) -> None:
    kernels.kill_kernel(service.user)
    finds_it(service, open_kernel(service))


def _interrupt_first_up(service: Service) -> Avocado:
    kernel, message = _first_up_half_way(service)
    kernel.interrupt()
    failed_in_two_lines(kernel.collect(message), "Interrupted", "undone")
    return _up_again(service, kernel)


def _restart_in_first_up(service: Service) -> Avocado:
    """A graceful restart comes as an interrupt, and waits for what that takes."""
    kernel, _ = _first_up_half_way(service)
    kernel.restart()
    return _up_again(service, kernel)


def _first_up_half_way(service: Service) -> tuple[Kernel, str]:
    kernel = open_kernel(service)
    service.switch(first_token_s=60)
    message = kernel.send(UP)
    wait_until(service.world.sessions, "no agent")
    return kernel, message


def _up_again(service: Service, kernel: Kernel) -> Avocado:
    """Bring it up once it was seen that nothing is left of the first time."""
    left = [line for line in service.home.wait_no_processes(0) if "ipyk" not in line]
    assert not left, f"processes are left: {left}"
    assert not service.home.secret_files(), "files with secrets are left"
    assert not service.world.sessions(), "the agent's session is left"
    service.switch()
    return up_in(service, kernel)


def _interrupt_change(service: Service) -> None:
    """Interrupt an ``up`` that adds a model to what runs."""
    service.switch(first_token_s=scaled(3))  # the callers wait as well
    message = service.user.send("%avocado_up other")
    wait_until(lambda: len(service.state().models) == 2, "the change is not accepted")
    service.user.interrupt()
    failed_in_two_lines(service.user.collect(message), "Interrupted", "undone")
    service.switch()


def _interrupt_status(service: Service) -> None:
    """Interrupt a ``status`` that waits for a host which does not answer."""
    host = service.host
    service.freeze(host)
    message = service.user.send("%avocado_status")
    time.sleep(0.3)  # there is no event: the cell hangs in a read
    began = time.monotonic()
    service.user.interrupt()
    failed_in_two_lines(
        service.user.collect(message), "You stopped the cell", "%avocado_status"
    )
    assert time.monotonic() - began < scaled(2.0), "the interrupt was not heeded"
    os.kill(host, signal.SIGCONT)


_ASK: Final = """
import json, requests
asked = {"model": "tiny", "stream": True, "max_tokens": 2000,
         "messages": [{"role": "user", "content": "avocado " * 2000}]}
reply = requests.post(avocado.url + "/v1/chat/completions", json=asked, stream=True,
                      headers={"Authorization": "Bearer " + avocado.api_key})
for line in reply.iter_lines():
    print("received", line[:20])
"""


def _interrupt_ask(service: Service) -> None:
    """Interrupt a user's own stream, of 20 s, before its first word and after it."""
    _interrupt_silent_ask(service)
    message = service.user.send(_ASK)
    service.user.collect(message, until_text="received")
    _interrupt_cell(service, message)
    log = service.folder.log("engine")
    wait_until(
        lambda: "client gone" in log.read_text(),
        "the engine goes on for a client that has gone",
        within_s=scaled(2.0),
    )


def _interrupt_silent_ask(service: Service) -> None:
    """While it waits for its first word, nothing is written that could fail."""
    service.switch(first_token_s=scaled(3))
    wait_until(lambda: _in_flight(service) == _CALLERS, "the callers do not wait")
    message = service.user.send(_ASK)
    wait_until(lambda: _in_flight(service) > _CALLERS, "the ask did not arrive")
    _interrupt_cell(service, message)
    wait_until(
        lambda: _in_flight(service) <= _CALLERS,
        "the gateway waits for a client that has gone",
        within_s=scaled(1.0),
    )
    service.switch()


def _in_flight(service: Service) -> int:
    return service.state().traffic.in_flight


def _interrupt_cell(service: Service, message: str) -> None:
    service.user.interrupt()
    assert service.user.collect(message).error == "KeyboardInterrupt"
    # IPython keeps what the traceback holds, and with it the connection.
    service.user.run("if 'reply' in globals(): reply.close()")


def _reset(service: Service) -> None:
    good(service.user.run("%reset -f"))
    good(service.user.run("%avocado_status"))
    url = service.state().url
    output = good(service.user.run("print(avocado.url)")).strip()
    assert output == url, "`avocado` is not given back"


def _unload(service: Service) -> None:
    good(service.user.run("%unload_ext spicy_avocado_magic"))
    output = service.user.run("print('avocado' in globals())\n%avocado_status").text
    assert "False" in output, "`avocado` outlived %unload_ext"
    assert "not found" in output, "the magics outlived %unload_ext"
    finds_it(service, service.user)


_FORK: Final = """
import os, time
child = os.fork()
if not child:
    status = 1
    try:
        from spicy_avocado_magic.client.up import run_up
        from spicy_avocado_magic.config.options import build_up_request
        again = run_up(build_up_request({"models": ("tiny",)}), show=lambda state: None)
        status = 0 if (again.outcome, again.url) == ("reused", avocado.url) else 2
        os.setsid()
        with open(HOME + "/forked", "w") as file:
            file.write(str(os.getpid()))
        time.sleep(WAIT_S)
    finally:
        os._exit(status)
"""


def _fork(service: Service) -> None:
    """A forked child uses the service, and outlives a kernel that is killed."""
    home = service.home.path
    good(service.user.run(f"HOME, WAIT_S = {str(home)!r}, {scaled(1.5)}{_FORK}"))
    wait_until((home / "forked").exists, "the child could not use the service")
    _kill(service)


def _stays(name: str, breaks: Act, expected: str = "", **more: Any) -> Fault:
    """A row in which nothing falls, whatever the kernel goes through."""
    row: dict[str, Any] = {
        "brings_up": _up_in_a_kernel,
        "keeps_all": True,
        "timeouts": _SHORT,
    } | more
    return Fault(
        name=name,
        area="kernel",
        expected=expected or "left alone, found again",
        breaks=breaks,
        bound_s=5.0,
        **row,
    )


def _ends(name: str, brings_up: Callable[[Service], Avocado], breaks: Act) -> Fault:
    """A row in which the owner goes, and the service with it."""
    return Fault(
        name=name,
        area="kernel",
        expected="ends a minute (scaled) after its owner",
        brings_up=brings_up,
        breaks=breaks,
        ends_by_itself=True,
        bound_s=owners.OWNER_GONE_S + _END_S,
        timeouts=_SHORT,
    )


ROWS = (
    _stays("restarted", _restart),
    _stays("restarted-hard", _restart_hard),
    _stays("kernel-killed", _kill),
    _stays(
        "first-up-interrupted",
        _restart,
        "taken back whole, then up again",
        brings_up=_interrupt_first_up,
    ),
    _stays(
        "restarted-in-first-up",
        _restart_hard,
        "taken back whole, then up again",
        brings_up=_restart_in_first_up,
    ),
    Fault(
        name="change-interrupted",
        area="kernel",
        expected="the change is taken back, no more",
        brings_up=_up_in_a_kernel,
        breaks=_interrupt_change,
        part="models",
        bound_s=8.0,
    ),
    _stays(
        "status-interrupted", _interrupt_status, "an error in two lines, left alone"
    ),
    _stays("ask-interrupted", _interrupt_ask, "the engine stops, left alone"),
    _stays("namespace-reset", _reset),
    _stays("extension-unloaded", _unload, "no magic left; found again at load"),
    _stays("wrapped-in-a-shell", _restart_hard, brings_up=owners.up_in_a_shell),
    _stays("forked", _fork, "the child uses it, left alone"),
    _stays(
        "two-kernels",
        owners.kill_launcher,
        "one host, left alone",
        brings_up=owners.up_in_two_kernels,
    ),
    _ends("server-ends", owners.up_under_a_server, owners.end_server),
    _ends("nbclient-ends", owners.up_by_nbclient, owners.end_notebook_run),
    _ends("terminal-exits", owners.up_in_a_terminal, owners.exit_terminal),
    Fault(
        name="package-upgraded",
        area="kernel",
        expected="goes on; asks for up --restart, same URL, key",
        brings_up=owners.up_of_an_older_version,
        breaks=owners.break_while_upgraded,
        part="engine",
        repairs=owners.upgrade,
        note="`up --restart` replaces the host: there is no service meanwhile",
        bound_s=8.0,
    ),
)
