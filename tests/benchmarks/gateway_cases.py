"""The cases, each measured through every peer in turn, round by round."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any, Final

from .gateway_figures import Figures
from .gateway_key import engine_counts
from .gateway_peers import ROOT, Direct, Peer

CASES: Final = ("idle", "streams", "rps", "held", "growth")
GROWTH: Final = (1, 8, 256, 512)
_MAIN_LEVEL: Final = 64
_RATE: Final = 50.0
_MOST_CHUNKS_S: Final = _MAIN_LEVEL * _RATE
"""More streams are slower ones: neither engine nor load may be what binds."""
_HELD: Final = 500
_CALM_S: Final = 10.0


class LoadProcess:
    """The load, one case at a time."""

    def __init__(self) -> None:
        self._process = start_module("gateway_load")

    def ask(self, peer: Peer, case: str, **options: Any) -> dict[str, Any]:
        """Return the figures of a peer under load.

        Raises:
            ConnectionError: If the load failed; it has printed why.
        """
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        output = {"case": case, "target": asdict(peer.target)} | options
        process.stdin.write(json.dumps(output) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise ConnectionError(f"the load failed at {case} through {peer.name}")
        seen: dict[str, Any] = json.loads(line)
        return seen

    def stop(self) -> None:
        """End it."""
        end_module(self._process)


class Run:
    """Rounds of cases through peers, and what came of them."""

    def __init__(self, peers: list[Peer], cases: list[str], load: LoadProcess) -> None:
        self.figures = Figures()
        self._peers, self._cases, self._load = peers, cases, load

    def round(self, number: int) -> None:
        """Measure every case through every peer, beginning with another each time."""
        turn = number % len(self._peers)
        order = self._peers[turn:] + self._peers[:turn]
        for case in self._cases:
            measure = getattr(self, f"_{case}")
            measure(order, number)

    def _idle(self, order: list[Peer], number: int) -> None:
        seen = {
            peer.name: self._ask(peer, "first_tokens", most=200, seconds=2)["waits_ms"]
            for peer in order
        }
        self.figures.add_latencies("added TTFT {}, idle (ms)", seen)

    def _streams(self, order: list[Peer], number: int) -> None:
        seen = self._level(_MAIN_LEVEL, order, seconds=2.0, probe_s=1.5)
        waits = {name: result["waits_ms"] for name, result in seen.items()}
        row = f"added TTFT {{}}, beside {_streams(_MAIN_LEVEL)} (ms)"
        self.figures.add_latencies(row, waits)
        for name, result in seen.items():
            row = f"chunks delivered in time, {_streams(_MAIN_LEVEL)} (%)"
            self.figures.add(row, name, 100 * result["delivered"])

    def _growth(self, order: list[Peer], number: int) -> None:
        for level in GROWTH:
            # LiteLLM takes seconds to open that many, and ends some of them.
            able = [p for p in order if p.is_quick_to_start or level <= _MAIN_LEVEL]
            self._level(level, able, seconds=1.0, probe_s=0.0)

    def _level(
        self, level: int, order: list[Peer], *, seconds: float, probe_s: float
    ) -> dict[str, Any]:
        rate = min(_RATE, _MOST_CHUNKS_S / level)
        options = {"count": level, "seconds": seconds, "probe_s": probe_s}
        seen = {
            peer.name: self._ask(peer, "streams", rate=rate / peer.slowness, **options)
            for peer in order
        }
        for name, result in seen.items():
            row = f"CPU per chunk, {_streams(level)} (us)"
            self.figures.add(row, name, result["cpu_us_per_chunk"])
        delays = {name: result["delays_ms"] for name, result in seen.items()}
        row = f"added delay of a chunk {{}}, {_streams(level)} (ms)"
        self.figures.add_latencies(row, delays)
        return seen

    def _rps(self, order: list[Peer], number: int) -> None:
        for peer in order:
            result = self._ask(peer, "short_requests", connections=32, seconds=2)
            row = "short requests/s, 32 connections"
            self.figures.add(row, peer.name, result["rps"])
            cpu_us = result["cpu_us_per_request"]
            self.figures.add("CPU per short request (us)", peer.name, cpu_us)

    def _held(self, order: list[Peer], number: int) -> None:
        for peer in order:
            if isinstance(peer, Direct) or (number and not peer.is_quick_to_start):
                continue
            # Freed memory is used again: only a fresh process shows all of it.
            peer.restart()
            count = _HELD if peer.is_quick_to_start else _HELD // 5
            grown = self._load.ask(peer, "held", count=count)["kib_per_stream"]
            self.figures.add("memory per idle stream, 500 (KiB)", peer.name, grown)
            # Caddy goes on reading for callers who have left until it writes again.
            peer.restart()
            _wait_until_calm(peer.engine.port)

    def _ask(self, peer: Peer, case: str, **options: Any) -> dict[str, Any]:
        result = self._load.ask(peer, case, **options)
        _wait_until_calm(peer.engine.port)
        return result


def start_module(name: str) -> subprocess.Popen[str]:
    """Start a module of this folder, to be spoken to by its standard streams."""
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.benchmarks.{name}"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def end_module(process: subprocess.Popen[str]) -> None:
    """End it at once: it holds nothing that must be kept."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.terminate()
    process.wait()
    process.stdout.close()


def _wait_until_calm(engine_port: int) -> None:
    """Wait until the engine streams to nobody any more.

    Raises:
        TimeoutError: If a proxy goes on reading for clients who have left.
    """
    until = time.monotonic() + _CALM_S
    while engine_counts(engine_port)[0]:
        if time.monotonic() > until:
            raise TimeoutError("streams go on although their clients have left")
        time.sleep(0.02)


def _streams(level: int) -> str:
    return f"{level} stream{'s' if level > 1 else ''}"
