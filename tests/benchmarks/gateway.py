"""The cost of the gateway beside its peers: ``python -m tests.benchmarks.gateway``.

Engine stand-in, load and each proxy are processes of their own on loopback. In each
round every case is measured through every peer in turn, so that drift of the machine
falls on all alike; what a proxy adds is relative to direct in the same round.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from .bytecode import compile_package
from .fast_engine import allow_many_files
from .gateway_cases import CASES, LoadProcess, Run, end_module, start_module
from .gateway_key import check_key
from .gateway_peers import Caddy, Direct, Engine, OurGateway, Peer
from .litellm_peer import LiteLLM

_KINDS: Final = (Direct, OurGateway, Caddy, LiteLLM)


def main() -> None:
    """Measure, print the table, then the JSON line."""
    wanted = _arguments()
    if wanted.install_litellm:
        LiteLLM.install()
        return
    allow_many_files()
    # A benchmark that is ended leaves no proxy behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    engine_process = start_module("fast_engine")
    assert engine_process.stdout is not None
    engine = Engine(int(engine_process.stdout.readline()), engine_process.pid)
    load = LoadProcess()
    with tempfile.TemporaryDirectory(prefix="avo-", dir="/tmp") as folder:
        key = f"sk-{secrets.token_urlsafe(24)}"
        all_peers: list[Peer] = [kind(Path(folder), engine, key) for kind in _KINDS]
        peers = _installed(all_peers, wanted.peers)
        try:
            for peer in peers:
                peer.start()
                if not isinstance(peer, Direct):
                    check_key(peer.port, key, engine.port)
            run = Run(peers, wanted.only, load)
            for number in range(wanted.rounds):
                run.round(number)
                sys.stderr.write(f"round {number + 1} of {wanted.rounds}\n")
        finally:
            for peer in peers:
                peer.stop()
            load.stop()
            end_module(engine_process)
    names = [peer.name for peer in peers]
    sys.stdout.write(run.figures.table(names) + "\n")
    sys.stdout.write(json.dumps(run.figures.json_object(names)) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    names = [kind.name for kind in _KINDS]
    parser.add_argument("--peers", default=",".join(names), help="joined by commas")
    parser.add_argument("--only", default=",".join(CASES), help="cases, by commas")
    parser.add_argument(
        "--install-litellm",
        action="store_true",
        help="install LiteLLM from PyPI in an environment of its own, and end",
    )
    wanted = parser.parse_args()
    compile_package()
    wanted.peers, wanted.only = wanted.peers.split(","), wanted.only.split(",")
    unknown = {*wanted.peers} - {*names} | {*wanted.only} - {*CASES}
    if unknown or wanted.rounds < 1:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; or no rounds")
    return wanted


def _installed(peers: list[Peer], names: list[str]) -> list[Peer]:
    """Return the peers wanted that are installed; say of the others how to."""
    found = []
    for peer in peers:
        if peer.name not in names:
            continue
        if peer.is_installed():
            found.append(peer)
        else:
            sys.stderr.write(f"no {peer.name} here: {peer.how_to_install}\n")
    return found


if __name__ == "__main__":
    main()
