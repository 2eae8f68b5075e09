"""What the magics cost: ``python -m tests.benchmarks.startup [--rounds N]``.

``load_ext`` is timed as whole processes, bare IPython and IPython that loads the
extension in turn; the others inside one IPython, on a running rehearsal.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .bytecode import compile_package

ROOT = Path(__file__).parents[2]
_MAGICS = """
import contextlib, io, json, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
rounds = int(sys.argv[1])
times = {"status": [], "reused": []}
quiet = io.StringIO()
with contextlib.redirect_stdout(quiet):
    shell.run_line_magic("load_ext", "spicy_avocado_magic")
    shell.run_line_magic("avocado_up", "tiny --rehearse")
    try:
        for _ in range(rounds):
            for name, magic, line in (
                ("status", "avocado_status", ""),
                ("reused", "avocado_up", "tiny --rehearse"),
            ):
                began = time.perf_counter()
                shell.run_line_magic(magic, line)
                times[name].append((time.perf_counter() - began) * 1000)
    finally:
        shell.run_line_magic("avocado_down", "")
print(json.dumps(times))
"""


def main() -> None:
    """Measure, print the table, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    compile_package()
    with tempfile.TemporaryDirectory(prefix="avo-", dir="/tmp") as folder:
        environment = _environment(Path(folder))
        bare, loaded = _load_times_ms(rounds, environment)
        ran = subprocess.run(
            [sys.executable, "-c", _MAGICS, str(rounds)],
            env=environment,
            stderr=sys.stderr,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    times_ms: dict[str, list[float]] = json.loads(ran.stdout.splitlines()[-1])
    # Each round's pair ran one after the other, so that drift cancels out.
    added = [with_it - without for with_it, without in zip(loaded, bare, strict=True)]
    rows = {
        "bare_ipython_ms": bare,
        "load_ext_added_ms": added,
        "status_ms": times_ms["status"],
        "reused_up_ms": times_ms["reused"],
    }
    for name, values in rows.items():
        spread = f"min {min(values):.1f}, max {max(values):.1f}"
        line = f"{name:<18} median {statistics.median(values):7.1f}  ({spread})"
        sys.stdout.write(line + "\n")
    medians = {name: round(statistics.median(v), 1) for name, v in rows.items()}
    sys.stdout.write(json.dumps({"startup": medians, "rounds": rounds}) + "\n")


def _environment(folder: Path) -> dict[str, str]:
    own = {"XDG_RUNTIME_DIR": folder, "XDG_CACHE_HOME": folder, "IPYTHONDIR": folder}
    paths = {name: str(path) for name, path in own.items()}
    return os.environ | paths | {"PYTHONPATH": str(ROOT)}


def _load_times_ms(
    rounds: int, environment: dict[str, str]
) -> tuple[list[float], list[float]]:
    bare, loaded = [], []
    for _ in range(rounds + 1):
        bare.append(_run_ms("pass", environment))
        loaded.append(_run_ms("%load_ext spicy_avocado_magic", environment))
    return bare[1:], loaded[1:]  # the first round warms the disk's cache


def _run_ms(code: str, environment: dict[str, str]) -> float:
    command = [sys.executable, "-m", "IPython", "--no-banner", "-c", code]
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
