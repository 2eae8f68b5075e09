"""One row, from a running service to its end."""

from __future__ import annotations

import time
from dataclasses import dataclass

from spicy_avocado_magic.protocol.state import Phase, State
from tests.machine_speed import scaled

from . import promises
from .callers import Callers
from .fault import Fault, nothing
from .service import Service, running

_SILENCE_LIMIT_S = scaled(15.0)
"""A request that is silent for longer hangs: the product holds none for longer
under these policies."""
_LEFT_ALONE_S = 1.0
"""How long to look on where nothing may fall, after the fault has passed."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What came of a row."""

    summary: str
    detect_s: float | None = None
    recover_s: float | None = None
    bare_s: float | None = None
    lost: int = 0
    asked: int = 0


def run(fault: Fault) -> Seen:
    """Start a service, break it, and hold it to the four promises.

    Raises:
        AssertionError: With the promise that was not kept.
    """
    with running(fault) as service:
        before = service.state()
        callers = Callers(
            before.url,
            before.api_key,
            "tiny",
            is_stand_in=service.is_stand_in,
            silence_limit_s=_SILENCE_LIMIT_S,
        )
        callers.start()
        try:
            ports = promises.ports_of(service, before)
            service.mark()
            fault.breaks(service)
            if fault.ends_by_itself:
                ended_s = promises.ended_by_itself(service, ports, fault.scaled_bound_s)
                return _seen_to_end(service, ended_s, callers)
            detect_s, whole_s, seen_at = _follow(service)
            if not fault.ends:
                promises.same_as_before(
                    before, service.state(), has_new_url=fault.has_new_url
                )
            if not (fault.has_new_url or fault.ends):
                callers.wait_each_whole(time.monotonic())
        except BaseException:
            callers.stop_calling()
            raise
        calls = callers.end()
        lost = promises.nothing_false(calls, keeps_all=fault.keeps_all)
        bare_s = promises.bare_start_s(before, fault.part) if fault.part else None
        if bare_s is not None and seen_at and fault.detect_s is not None:
            promises.recovered_in_time(service, seen_at, bare_s)
        service.undo.close()
        promises.nothing_left(service)
    return Seen(
        summary=_summary(fault, lost),
        detect_s=detect_s,
        recover_s=whole_s if fault.part or fault.plays else None,
        bare_s=bare_s,
        lost=lost,
        asked=len(calls),
    )


def _seen_to_end(service: Service, ended_s: float, callers: Callers) -> Seen:
    calls = callers.end()
    lost = promises.nothing_false(calls, keeps_all=False)
    service.undo.close()
    promises.nothing_left(service)
    summary = f"ended by itself after {ended_s:.1f} s, nothing left"
    return Seen(summary=summary, lost=lost, asked=len(calls))


def _follow(service: Service) -> tuple[float | None, float, float]:
    """Wait until it fell, was shown to the user, was repaired and is whole again.

    Returns:
        Seconds to detect and to recover, and when it was detected.
    """
    fault, broken_at = service.fault, service.broken_at
    if fault.plays:
        return *fault.plays(service), 0.0
    if not fault.part:
        fault.repairs(service)
        time.sleep(_LEFT_ALONE_S)
        promises.stayed_up(service, broken_at)
        whole_at = promises.whole_again(service, time.monotonic(), fault.scaled_bound_s)
        return None, whole_at - broken_at, 0.0

    def has_fallen(state: State) -> bool:
        return state.component(fault.part) is not Phase.READY

    fallen_at = service.watch.first(
        has_fallen,
        since=broken_at,
        within_s=fault.scaled_bound_s,
        description=f"{fault.part} fell",
    )
    detect_s = fallen_at - broken_at
    most_s = fault.scaled_detect_s
    if most_s is not None:
        assert detect_s <= most_s, (
            f"noticed after {detect_s:.2f} s, at most {most_s:.2f} s promised"
        )
    began = fallen_at
    if fault.gives_up:
        service.watch.first(
            lambda state: state.component(fault.part) is Phase.FAILED,
            since=broken_at,
            within_s=fault.scaled_bound_s,
            description=f"{fault.part} is given up",
        )
        if fault.part == "engine":
            promises.nobody_waits_in_vain(service)
    promises.user_sees(service, fault.user_sees, fault.scaled_bound_s)
    if fault.repairs is not nothing:
        fault.repairs(service)
        began = time.monotonic()
    if fault.gives_up:
        service.up()
    whole_at = promises.whole_again(service, began, fault.scaled_bound_s)
    return detect_s, whole_at - began, fallen_at


def _summary(fault: Fault, lost: int) -> str:
    parts = ["left alone" if not fault.part else "whole again"]
    if fault.seen:
        parts = [fault.seen]
    if fault.gives_up:
        parts = ["failed with cause, up tried again"]
    if fault.user_sees:
        parts.append(f"shown “{fault.user_sees[0]}”")
    if lost:
        parts.append(f"{lost} failed clearly")
    return ", ".join(parts)
