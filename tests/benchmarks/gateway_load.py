"""The load generator: a process that reads one case a line and answers.

``python -m tests.benchmarks.gateway_load`` reads ``{"case": …, "target": {…}, …}`` on
standard input and writes what it saw as one line of JSON; times are milliseconds.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import psutil

from .fast_engine import allow_many_files
from .gateway_wire import Crowd, Target, chat_body

_OPEN_S: Final = 60.0
"""Longest wait until every stream of a case has begun."""
_SETTLE_S: Final = 0.4
_HELD_RATE: Final = 0.01
"""Chunks a second of a stream that is only held open."""
_FIRST_RATE: Final = 500.0
"""The second chunk comes 1 to 3 ms after the first, not in one piece with it."""
_CPUCLOCK_SCHED: Final = 2

Result = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tree:
    """A process and its children."""

    pid: int

    def cpu_s(self) -> float:
        """Return the CPU time they have used."""
        return sum(_cpu_s(process) for process in self._processes())

    def rss_bytes(self) -> int:
        """Return their resident memory."""
        return sum(process.memory_info().rss for process in self._processes())

    def _processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.pid)
        return [parent, *parent.children(recursive=True)]


def _cpu_s(process: psutil.Process) -> float:
    """Return a process's CPU time; on Linux finer than the 10 ms of ``/proc``.

    The clock's number is ``clock_getcpuclockid(3)``'s, which Python does not offer.
    """
    if sys.platform == "linux":
        return time.clock_gettime((~process.pid << 3) | _CPUCLOCK_SCHED)
    times = process.cpu_times()
    return times.user + times.system


def first_tokens(target: Target, *, most: int, seconds: float) -> Result:
    """Time to first token of streams that run one after the other."""
    crowd = Crowd(target)
    caller = crowd.connect()
    body = chat_body(chunks=2, rate=_FIRST_RATE)
    waits_ms: list[float] = []
    until = time.monotonic() + seconds
    while len(waits_ms) < most and time.monotonic() < until:
        waits_ms.append(crowd.first_token_ms(caller, body, _OPEN_S))
    crowd.close()
    return {"waits_ms": waits_ms}


def streams(
    target: Target, *, count: int, rate: float, seconds: float, probe_s: float = 0.0
) -> Result:
    """Hold streams; report delays of chunks, CPU a chunk, and first tokens beside them.

    Args:
        target: Where to.
        count: How many streams.
        rate: Chunks a second of each.
        seconds: For how long chunks are counted.
        probe_s: For how long first tokens are timed afterwards, meanwhile.
    """
    tree = Tree(target.pid)
    crowd = _opened(target, count, rate)
    crowd.run(_SETTLE_S)
    crowd.delays_ms.clear()
    began, cpu_began = time.monotonic(), tree.cpu_s()
    crowd.run(seconds)
    cpu_s, elapsed_s = tree.cpu_s() - cpu_began, time.monotonic() - began
    delays_ms = crowd.delays_ms.copy()
    expected = count * rate * elapsed_s
    result: Result = {
        "delays_ms": delays_ms,
        "cpu_us_per_chunk": cpu_s * 1e6 / max(len(delays_ms), 1),
        "delivered": len(delays_ms) / expected,
    }
    if probe_s:
        caller = crowd.connect()
        body = chat_body(chunks=2, rate=_FIRST_RATE)
        waits_ms: list[float] = []
        until = time.monotonic() + probe_s
        while time.monotonic() < until:
            waits_ms.append(crowd.first_token_ms(caller, body, _OPEN_S))
            crowd.run(0.003)
        result["waits_ms"] = waits_ms
    crowd.close()
    return result


def short_requests(target: Target, *, connections: int, seconds: float) -> Result:
    """Requests a second, each connection asking again once it was answered."""
    tree = Tree(target.pid)
    crowd = Crowd(target)
    body = chat_body(chunks=0, rate=1)
    callers = [crowd.connect() for _ in range(connections)]
    crowd.again = target.request(body)
    for caller in callers:
        crowd.ask(caller, body)
    crowd.run(_SETTLE_S)
    answered, cpu_began, began = crowd.answered, tree.cpu_s(), time.monotonic()
    crowd.run(seconds)
    answered = crowd.answered - answered
    elapsed_s, cpu_s = time.monotonic() - began, tree.cpu_s() - cpu_began
    crowd.close()
    return {
        "rps": answered / elapsed_s,
        "cpu_us_per_request": cpu_s * 1e6 / max(answered, 1),
    }


def held(target: Target, *, count: int) -> Result:
    """Memory of each stream that is open and silent, in KiB."""
    tree = Tree(target.pid)
    warm = _opened(target, 4, _HELD_RATE)
    warm.close()
    time.sleep(_SETTLE_S)
    before = tree.rss_bytes()
    crowd = _opened(target, count, _HELD_RATE)
    crowd.run(_SETTLE_S)
    grown = tree.rss_bytes() - before
    crowd.close()
    return {"kib_per_stream": grown / 1024 / count}


def _opened(target: Target, count: int, rate: float) -> Crowd:
    """Return streams that have all begun."""
    crowd = Crowd(target)
    body = chat_body(chunks=1_000_000, rate=rate)
    for _ in range(count):
        crowd.ask(crowd.connect(), body)
        crowd.run(0)
    until = time.monotonic() + _OPEN_S
    while crowd.begun < count:
        crowd.run(0.01)
        if time.monotonic() > until:
            raise TimeoutError(f"{crowd.begun} of {count} streams began")
    return crowd


CASES: Final[dict[str, Callable[..., Result]]] = {
    "first_tokens": first_tokens,
    "streams": streams,
    "short_requests": short_requests,
    "held": held,
}


def main() -> None:
    """Run what is asked for until standard input ends."""
    allow_many_files()
    gc.disable()
    for line in sys.stdin:
        wanted = json.loads(line)
        case = CASES[wanted.pop("case")]
        result = case(Target(**wanted.pop("target")), **wanted)
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
        gc.collect()


if __name__ == "__main__":
    main()
