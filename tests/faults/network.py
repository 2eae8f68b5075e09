"""The network's rows: none at the start, lost later, or one server unreachable."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.config.timeouts import Timeouts
from spicy_avocado_magic.protocol.event_log import read_tail
from spicy_avocado_magic.protocol.state import Phase, State
from tests.machine_speed import scaled
from tests.main_job.home import Home

from . import promises
from .callers import Caller, Dialect, Verdict
from .fault import DIVISOR, Fault
from .kernels import wait_until
from .preloading import preloaded
from .service import TOKEN, Service
from .watching import Watch

T = TypeVar("T")
Timing = tuple[float | None, float]

_WHOLE_S: Final = scaled(20.0)
_TRIES: Final = Timeouts().first_start_tries
"""As many as a component has that fails otherwise."""
_LONGEST_PAUSE_S: Final = 0.4
"""In place of a minute."""
_AGENT_S: Final = {
    "agent_start_s": 5.0,
    "backoff_max_s": _LONGEST_PAUSE_S,
    "stalled_s": 60.0,
}
"""An agent without a network goes on trying by itself for the first of these."""
_OUTAGE_S: Final = 300.0 / DIVISOR
_AWAY_S: Final = 30.0 / DIVISOR
_NAMES: Final = f"/tmp/avocado-faults-names-{os.getpid()}"
_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy")


def _in_background(work: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001  (raised where it is awaited)
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _begin(service: Service) -> Future[Avocado]:
    return _in_background(lambda: service.up("tiny", token=TOKEN))


def _without_engine(home: Home, _undo: contextlib.ExitStack) -> None:
    """Let no ``ollama`` be on PATH, so that it must be fetched."""
    (home.path / "bin" / "ollama").unlink()


def _up_without_a_network(service: Service) -> Avocado:
    service.world.lay_wires()
    service.world.lose()
    return _up_once_it_is_there(
        service,
        {
            "install": "127.0.0.1 refuses the connection",
            "pull": "127.0.0.1 refuses the connection",
            "tunnel": "The ngrok service cannot be reached",
        },
        service.world.find,
    )


def _up_without_names(service: Service) -> Avocado:
    """Let the world have a name, which nothing resolves at first."""
    world, names = service.world, Path(_NAMES)
    world.sources = replace(
        world.sources,
        registry=_named(world.sources.registry),
        edge_address=_named(world.sources.edge_address),
    )
    names.touch()
    service.undo.callback(names.unlink, missing_ok=True)
    return _up_once_it_is_there(
        service,
        {
            "pull": "localhost cannot be found",
            "tunnel": "The ngrok service cannot be reached",
        },
        names.unlink,
    )


def _named(address: str) -> str:
    return address.replace("127.0.0.1", "localhost")


def _up_once_it_is_there(
    service: Service, reasons: dict[str, str], repair: Callable[[], None]
) -> Avocado:
    """Begin, wait until each stage shows why it waits, and repair it."""
    up = _begin(service)
    watch = Watch(service.folder)
    service.undo.callback(watch.end)
    began = time.monotonic()
    for stage, text in reasons.items():

        def is_shown(state: State, stage: str = stage, text: str = text) -> bool:
            failure = state.stage(stage).failure
            return failure is not None and text in failure.problem

        watch.first(
            is_shown, since=began, within_s=_WHOLE_S, description=f"{stage} shows why"
        )
    wait_until(
        lambda: _tries(service, "models") > _TRIES, "given up", within_s=_WHOLE_S
    )
    assert not up.done(), f"up did not wait: {up.exception()}"
    repair()
    repaired_at = time.monotonic()
    avocado = up.result(_WHOLE_S)
    service.user = (None, time.monotonic() - repaired_at)
    return avocado


def _tries(service: Service, component: str) -> int:
    """Return how often a component has failed, by the event log."""
    entries = read_tail(service.folder.path, 10_000)
    return sum(e.component == component and ": crash " in e.text for e in entries)


def _as_it_was_brought_up(service: Service) -> Timing:
    """What the row is about was judged when it was brought up."""
    timing: Timing = service.user
    promises.stayed_up(service, service.broken_at)
    return timing


def _lost(service: Service) -> None:
    service.mark()
    service.world.lose()


def _up_by_wires(service: Service) -> Avocado:
    service.world.lay_wires()
    return service.up("tiny", token=TOKEN)


def _found_after_5_minutes(service: Service) -> None:
    """Meanwhile an engine that dies comes back, and serves those who are near."""
    killed_at = time.monotonic()
    os.kill(service.engine, signal.SIGKILL)
    for is_up, description in (
        (False, "the engine fell"),
        (True, "it is back without one"),
    ):

        def is_so(state: State, is_up: bool = is_up) -> bool:
            phases = [state.component(name) for name in ("engine", "models")]
            return all(phase is Phase.READY for phase in phases) is is_up

        killed_at = service.watch.first(
            is_so, since=killed_at, within_s=scaled(8.0), description=description
        )
    state = service.state()
    near = Caller(
        dialect=Dialect.OPENAI,
        is_stream=True,
        model="tiny",
        is_stand_in=service.is_stand_in,
        url=state.local_url,
        key=state.api_key,
        silence_limit_s=scaled(8.0),
    )
    call = near.call()
    assert call.verdict is Verdict.WHOLE, f"not even from nearby: {call.detail}"
    time.sleep(max(0.0, service.broken_at + _OUTAGE_S - time.monotonic()))
    service.world.find()


def _names_go(service: Service) -> None:
    names = Path(_NAMES)
    names.touch()
    service.mark()
    edge = service.world.edge

    async def drop() -> None:
        edge.drop_sessions()

    service.world.run(drop())


def _names_return(_service: Service) -> None:
    Path(_NAMES).unlink()


class _Proxy:
    """A proxy that nobody may ask, since all of this row's world is on loopback."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.0)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def was_left_alone(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            self._socket.accept()[0].close()
            return False
        return True

    def close(self) -> None:
        self._socket.close()


def _up_beside_a_proxy(service: Service) -> Avocado:
    proxy = service.user = _Proxy()
    service.undo.callback(proxy.close)
    patch = service.undo.enter_context(pytest.MonkeyPatch.context())
    for name in _PROXIES:
        patch.setenv(name, proxy.url)
        patch.setenv(name.upper(), proxy.url)
    for name in ("no_proxy", "NO_PROXY"):
        patch.delenv(name, raising=False)
    return service.up("tiny", token=TOKEN)


def _all_restarted(service: Service) -> Timing:
    recover_s = 0.0
    for pid in (service.agent, service.engine):
        recover_s = promises.killed_and_whole(service, pid, _WHOLE_S)
    service.up("other")
    service.up("tiny", only=True)
    assert service.user.was_left_alone(), "a proxy was asked on the way to loopback"
    return None, recover_s


def _up_with_a_break(part: str, after: int) -> Callable[[Service], Avocado]:
    """Return how to bring up while one part goes down midway, and comes back."""

    def up(service: Service) -> Avocado:
        service.world.lay_wires()
        wire = service.world.wires[part]
        wire.breaks_after = after
        future = _begin(service)
        assert wire.has_broken.wait(_WHOLE_S), "nothing was fetched"
        time.sleep(_AWAY_S)
        assert not future.done(), f"up did not wait: {future.exception()}"
        service.world.run(wire.restore())
        repaired_at = time.monotonic()
        avocado = future.result(_WHOLE_S)
        service.user = (None, time.monotonic() - repaired_at)
        return avocado

    return up


def _row(name: str, expected: str, **more: Any) -> Fault:
    row: dict[str, Any] = {
        "bound_s": 20.0,
        "timeouts": {"backoff_max_s": _LONGEST_PAUSE_S},
    } | more
    return Fault(name=name, area="network", expected=expected, **row)


ROWS = (
    _row(
        "lost-for-5-minutes",
        "waited for, same URL; the engine goes on nearby",
        brings_up=_up_by_wires,
        breaks=_lost,
        part="tunnel",
        user_sees=("the tunnel is reconnecting",),
        repairs=_found_after_5_minutes,
    ),
    _row(
        "none-at-start",
        "shown, waited for without limit, then up",
        seen="shown, tried on, up as soon as it was there",
        prepares=_without_engine,
        brings_up=_up_without_a_network,
        plays=_as_it_was_brought_up,
        keeps_all=True,
        timeouts=_AGENT_S,
        note="`up` waits 5 minutes, shows what is in the way; the host goes on trying.",
    ),
    _row(
        "dns-fails",
        "at start and later: shown, waited for, same URL",
        brings_up=_up_without_names,
        breaks=_names_go,
        part="tunnel",
        user_sees=("the tunnel is reconnecting",),
        repairs=_names_return,
        timeouts=_AGENT_S,
        variables=preloaded(AVOCADO_FAULTS_NAMES=_NAMES),
        note="`getaddrinfo` of host and agent is stood in for.",
    ),
    _row(
        "proxy-in-the-environment",
        "never asked on the way to loopback",
        seen="whole again, the proxy was not asked",
        brings_up=_up_beside_a_proxy,
        plays=_all_restarted,
    ),
    _row(
        "release-host-down-midway",
        "waited for, goes on where it was",
        seen="up as soon as it was back",
        prepares=_without_engine,
        brings_up=_up_with_a_break("releases", 200_000),
        plays=_as_it_was_brought_up,
        keeps_all=True,
    ),
    _row(
        "registry-down-midway",
        "waited for, goes on where it was",
        seen="up as soon as it was back",
        brings_up=_up_with_a_break("registry", 100_000),
        plays=_as_it_was_brought_up,
        keeps_all=True,
    ),
)
