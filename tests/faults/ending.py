"""The order in which the parts of a service end, and what is left a second later."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from spicy_avocado_magic.system.processes import Identity, identify
from tests.machine_speed import scaled

from .service import Service

END_S: Final = scaled(5.0)
"""An orderly end takes no longer."""
GUARD_S: Final = scaled(1.0)
"""The guard ends agent and engine within this time."""
_LOOK_S: Final = 0.004
_SLACK_S: Final = scaled(1.0)
"""To see it where other programs use the cores as well."""

Alive = Callable[[], bool]


def end_in_order(service: Service, trigger: Callable[[], object]) -> float:
    """Trigger an end and see tunnel, gateway and engine go, in this order.

    Returns:
        Seconds from the trigger until the host itself has gone.
    """
    host = _identity(service.host)
    parts: dict[str, Alive] = {
        "tunnel": lambda: bool(service.world.sessions()),
        "gateway": _port(service),
        "engine": _process(service.engine),
        "host": lambda: host.is_alive,
    }
    began = time.monotonic()
    trigger()
    gone = _watch(parts, began + END_S + _SLACK_S)
    left = [name for name in parts if name not in gone]
    assert not left, f"{END_S:g} s later there still is: {left}"
    order = sorted(parts, key=lambda name: gone[name][0])
    in_order = all(
        gone[a][0] <= gone[b][0] for a, b in zip(parts, list(parts)[1:], strict=False)
    )
    assert in_order, f"it ended in the order {order}"
    took_s = gone["host"][1] - began
    assert took_s <= END_S, f"the end took {took_s:.1f} s"
    return took_s


def end_by_guard(service: Service, kill: Callable[[], object]) -> float:
    """Kill the host and see the guard end agent and engine within its second.

    Returns:
        Seconds from the kill until both have gone.
    """
    host = _identity(service.host)
    parts: dict[str, Alive] = {
        "agent": _process(service.agent),
        "engine": _process(service.engine),
    }
    service.mark()
    kill()
    gone = _watch(parts, service.broken_at + GUARD_S)
    left = [name for name in parts if name not in gone]
    assert not left, f"{GUARD_S:g} s after the host there still is: {left}"
    assert gone["agent"][0] <= gone["engine"][0], "the engine went before the tunnel"
    assert not host.is_alive, "the host was not killed"
    return max(at for _, at in gone.values()) - service.broken_at


def _watch(parts: dict[str, Alive], deadline: float) -> dict[str, tuple[int, float]]:
    """Return in which round, and when, each part was seen to have gone.

    The last is looked at first: so what went in order is never seen out of it.
    """
    gone: dict[str, tuple[int, float]] = {}
    turn = 0
    while len(gone) < len(parts) and time.monotonic() < deadline:
        turn += 1
        for name in reversed(parts):
            if name not in gone and not parts[name]():
                gone[name] = (turn, time.monotonic())
        time.sleep(_LOOK_S)
    return gone


def _process(pid: int) -> Alive:
    identity = _identity(pid)
    return lambda: identity.is_alive


def _identity(pid: int) -> Identity:
    identity = identify(pid)
    assert identity is not None, f"process {pid} has gone already"
    return identity


def _port(service: Service) -> Alive:
    port = urlsplit(service.state().local_url).port or 0

    def is_open() -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return is_open
