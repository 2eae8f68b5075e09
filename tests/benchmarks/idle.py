"""What a service costs that nobody asks: ``python -m tests.benchmarks.idle``.

One rehearsal with the product's own waits, left alone. Host and guard are counted, by
the kernel's own books: CPU time from ``/proc``, memory as resident (with all that they
share with others) and as proportional (shared pages divided among who shares them).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from typing import Final

import psutil

from tests.main_job.home import new_home

from .bytecode import compile_package

_MOST_CPU_PERCENT: Final = 0.5
_MOST_MIB: Final = 90.0
_SETTLE_S: Final = 10.0
_PARTS: Final = ("spicy_avocado_magic.daemon", "spicy_avocado_magic.daemon.reaper")


def main() -> None:
    """Measure, print the table, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each round")
    wanted = parser.parse_args()
    compile_package()
    with new_home(os.environ.__setitem__) as home:
        home.up("tiny")
        parts = {name: home.running(name)[0] for name in _PARTS}
        time.sleep(_SETTLE_S)
        rounds = [_cpu_percent(parts, wanted.seconds) for _ in range(wanted.rounds)]
        memory = {name: process.memory_full_info() for name, process in parts.items()}
    total = [sum(item.values()) for item in rounds]
    rss_mib = sum(item.rss for item in memory.values()) / 2**20
    pss_mib = sum(item.pss for item in memory.values()) / 2**20
    for name in _PARTS:
        percent = statistics.median(item[name] for item in rounds)
        sys.stdout.write(
            f"{name:<34} {percent:6.3f} % of a core, "
            f"{memory[name].rss / 2**20:5.1f} MiB resident, "
            f"{memory[name].pss / 2**20:5.1f} MiB proportional\n"
        )
    spread = f"{min(total):.3f}..{max(total):.3f}; target {_MOST_CPU_PERCENT}"
    sys.stdout.write(
        f"together: {statistics.median(total):.3f} % ({spread}), "
        f"{rss_mib:.1f} MiB resident (target {_MOST_MIB})\n"
    )
    figures = {
        "cpu_percent": round(statistics.median(total), 3),
        "rss_mib": round(rss_mib, 1),
        "pss_mib": round(pss_mib, 1),
    }
    sys.stdout.write(json.dumps({"idle": figures, "rounds": wanted.rounds}) + "\n")


def _cpu_percent(parts: dict[str, psutil.Process], seconds: float) -> dict[str, float]:
    before = {name: _cpu_s(process) for name, process in parts.items()}
    began = time.monotonic()
    time.sleep(seconds)
    took_s = time.monotonic() - began
    return {n: 100 * (_cpu_s(p) - before[n]) / took_s for n, p in parts.items()}


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


if __name__ == "__main__":
    main()
