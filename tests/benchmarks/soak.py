"""Ten minutes of load and breakage: ``python -m tests.benchmarks.soak --minutes 10``.

A service under the product's own waits; stock ``openai`` clients with their default
retries call it through the public rehearsal URL, streaming and not, and something is
broken every 20 seconds. An outage is where a probe of that URL failed; what fell
into one is counted apart from what was lost without one.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import psutil

from tests.faults.fault import Engine, Fault, nothing
from tests.faults.service import Service, running

from .bytecode import compile_package
from .soak_load import Load, Outage, Request

_EVERY_S: Final = 20.0
_WARM_S: Final = 60.0
_SAMPLE_S: Final = 2.0
_EDGE_GONE_S: Final = 3.0

Break = Callable[[Service], None]


def _cut_edge(service: Service) -> None:
    """Let the service's side be gone for some seconds, and come back."""
    address = service.world.sources.edge_address
    service.world.run(service.world.edge.close())
    time.sleep(_EDGE_GONE_S)
    host, _, port = address.rpartition(":")
    service.world.run(service.world.edge.start(host, int(port)))


ENGINE: Final[dict[str, Break]] = {
    "engine killed": lambda service: service.kill(service.engine),
    "engine hung": lambda service: service.freeze(service.engine),
}
TUNNEL: Final[dict[str, Break]] = {
    "agent killed": lambda service: service.kill(service.agent),
    "edge gone for 3 s": _cut_edge,
}
OTHERS: Final[dict[str, Break]] = {
    "guard killed": lambda service: service.kill(service.guard)
}
ALL: Final = ENGINE | TUNNEL | OTHERS
_EDGE, _GUARD = "edge gone for 3 s", "guard killed"
ORDER: Final = (
    *("engine killed", _GUARD, _EDGE, "agent killed", _EDGE, _GUARD, _EDGE),
    *("engine hung", _GUARD, _EDGE, "agent killed", _EDGE, _GUARD, _EDGE, _GUARD),
)
"""Five minutes: a component that falls five times in ten is given up, as promised."""


def main() -> None:
    """Hold the load, print what was seen, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", default=",".join(ORDER), help="faults, by commas")
    wanted = parser.parse_args()
    compile_package()
    order = wanted.only.split(",")
    unknown = [name for name in order if name not in ALL]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(ALL)}")
    quiet = Fault(
        name="soak",
        area="soak",
        expected="",
        breaks=nothing,
        bound_s=0.0,
        engine=Engine.STAND_IN,
        divisor=1.0,
    )
    with running(quiet) as service:
        host = psutil.Process(service.host)
        load = Load(service.state().url, service.state().api_key)
        load.start()
        broken, samples = _hold(service, host, order, wanted.minutes * 60)
        requests, outages = load.end()
    _report(requests, outages, broken, samples)


def _hold(
    service: Service, host: psutil.Process, order: list[str], seconds: float
) -> tuple[list[tuple[float, str]], list[tuple[float, float, int]]]:
    """Break something every so often, and look at the host in between."""
    began, broken = time.monotonic(), []
    samples: list[tuple[float, float, int]] = []
    names = itertools.cycle(order)
    next_break = began + _EVERY_S
    # What was broken last has time to come back before the load ends.
    last_break = began + seconds - 2 * _EVERY_S
    while (now := time.monotonic()) < began + seconds:
        is_due = next_break <= now < last_break
        # One thing at a time: what was broken before has to be whole again.
        if is_due and service.state().is_ready:
            name = next(names)
            broken.append((now, name))
            ALL[name](service)
            next_break = now + _EVERY_S
        rss_mib = host.memory_info().rss / 2**20
        samples.append((now - began, rss_mib, host.num_fds()))
        time.sleep(_SAMPLE_S)
    return broken, samples


def _report(
    requests: list[Request],
    outages: list[Outage],
    broken: list[tuple[float, str]],
    samples: list[tuple[float, float, int]],
) -> None:
    json_value = [item for item in requests if not item.is_stream]
    lost = [item for item in json_value if item.error]
    outside = [item for item in lost if not any(o.holds(item) for o in outages)]
    streams = [item for item in requests if item.is_stream]
    halves = [item for item in requests if item.looks_whole_but_is_not]
    ends = [*(at for at, _ in broken[1:]), time.monotonic()]
    for name in dict.fromkeys(name for _, name in broken):
        windows = [
            (a, b)
            for (a, subject), b in zip(broken, ends, strict=True)
            if subject == name
        ]
        within = [o for o in outages if any(a <= o.began < b for a, b in windows)]
        out_s = sum(o.ended - o.began for o in within)
        gone = [r for r in lost if any(r.overlaps(a, b) for a, b in windows)]
        hit = [r for r in json_value if any(r.overlaps(a, b) for a, b in windows)]
        sys.stdout.write(
            f"{name:<20} {len(windows):3} times, outage {out_s / len(windows):5.2f} s "
            f"each, {len(gone)} of {len(hit)} requests lost\n"
        )
        for reason, count in Counter(item.error for item in gone).most_common(3):
            sys.stdout.write(f"    {count} times {reason}\n")
    warm = [(mib, fds) for at, mib, fds in samples if at >= _WARM_S] or [(0.0, 0)]
    third = max(1, len(warm) // 3)
    grown = [
        statistics.median(column[-third:]) - statistics.median(column[:third])
        for column in zip(*warm, strict=True)
    ]
    for item in (*outside[:5], *halves[:5]):
        sys.stdout.write(f"lost without an outage, or half: {item}\n")
    figures = {
        "requests": len(json_value),
        "succeeded_percent": round(100 * (1 - len(lost) / max(1, len(json_value))), 3),
        "lost": len(lost),
        "lost_outside_outages": len(outside),
        "outages": len(outages),
        "outage_s": round(sum(o.ended - o.began for o in outages), 2),
        "streams": len(streams),
        "streams_told_broken": sum(bool(item.error) for item in streams),
        "streams_half_as_if_whole": len(halves),
        "rss_grown_mib": round(grown[0], 1),
        "descriptors_grown": grown[1] if len(grown) > 1 else 0,
        "broken": len(broken),
    }
    sys.stdout.write(json.dumps({"soak": figures}) + "\n")


if __name__ == "__main__":
    main()
