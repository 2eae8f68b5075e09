"""From cell to URL, side by side: ``python -m tests.benchmarks.arrival [--rounds N]``.

In each round and case, one after the other: the floor, ours, and the recipe that
people use (``arrival_recipe``). All of it on loopback, through one throttled link.
A real Ollama is packed into the archive where ``AVOCADO_REAL_OLLAMA`` lists one of
the version that is installed by default, else the rehearsal's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from spicy_avocado_magic.config.validators import OLLAMA_VERSION
from spicy_avocado_magic.engine.install.release import archive_for
from tests.real_engines import EXECUTABLES

from .arrival_archive import write_archive
from .arrival_bench import BUSY_CORES, CASES, Bench, Seen
from .arrival_home import ROOT, empty_home
from .arrival_model import write_model
from .bytecode import compile_package


def main() -> None:
    """Measure, print the tables, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--archive-mb", type=int, default=160)
    parser.add_argument("--model-mb", type=int, default=400)
    parser.add_argument(
        "--wait-quiet",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="longest wait before each round until other programs rest",
    )
    asked = parser.parse_args()
    compile_package()
    missing = [p for p in ("curl", "zstd", "tar", "bash") if shutil.which(p) is None]
    if missing:
        sys.exit(f"missing: {missing} (apt-get install curl zstd tar bash)")
    cases = {name: Seen() for name in asked.cases.split(",")}
    if asked.rounds < 1:
        parser.error("--rounds must be 1 or more")
    if unknown := set(cases) - set(CASES):
        parser.error(f"no such case: {unknown}; there are {', '.join(CASES)}")
    cpu: list[dict[str, float]] = []
    engine = next((p for p in EXECUTABLES if p and OLLAMA_VERSION in p.parts), None)
    with (
        tempfile.TemporaryDirectory(prefix="avo-", dir="/tmp") as path,
        empty_home() as kept,
    ):
        folder = Path(path)
        name = archive_for(OLLAMA_VERSION, "", "Linux", platform.machine()).name
        write_archive(
            folder / name,
            compressed_bytes=asked.archive_mb * 1_000_000,
            version=OLLAMA_VERSION,
            engine=engine,
        )
        write_model(folder / "model.gguf", asked.model_mb * 1_000_000)
        with _world(folder / name, folder / "model.gguf", folder) as process:
            bench = Bench(
                process,
                kept,
                has_program=engine is not None,
                wait_quiet_s=asked.wait_quiet,
            )
            bench.fill()
            for number in range(1, asked.rounds + 1):
                for case, seen in cases.items():
                    bench.round(case, number, seen)
                    sys.stderr.write(f"round {number} {_row(case, seen, -1)}\n")
                cpu.append(bench.cpu(folder))
    _report(cases, cpu)


@contextlib.contextmanager
def _world(*paths: Path) -> Iterator[subprocess.Popen[str]]:
    """Run the world as a process of its own, so that no one waits for its GIL."""
    command = [sys.executable, "-m", "tests.benchmarks.arrival_world"]
    with subprocess.Popen(
        [*command, *map(str, paths)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def _report(cases: dict[str, Seen], cpu: list[dict[str, float]]) -> None:
    write = sys.stdout.write
    for case, seen in cases.items():
        for note in seen.notes:
            write(f"{case}: {note}\n")
        if seen.output:
            write(f"\n{case}, {_steps(seen)}\n")
    _warn(cases)
    write("\ncase       floor    ours  recipe, loaded   ours / floor   recipe / ours\n")
    for case, seen in cases.items():
        write(f"{_row(case, seen)}\n")
    for case, seen in cases.items():
        write(
            "{}: CPU seconds: ours {:.2f}, recipe {:.2f}\n".format(
                case, *seen.cpu_medians()
            )
        )
    costs = {name: round(median(item[name] for item in cpu), 2) for name in cpu[0]}
    write(f"CPU seconds of fetching, hashing and unpacking the archive: {costs}\n")
    medians = {case: seen.medians() | {**costs} for case, seen in cases.items()}
    write(json.dumps(medians) + "\n")


def _warn(cases: dict[str, Seen]) -> None:
    """Say where others took the processor; ``fast`` and ``present`` need it whole."""
    for case, seen in cases.items():
        if max(seen.busy) > BUSY_CORES:
            output = ", ".join(f"{cores:.1f}" for cores in seen.busy)
            sys.stdout.write(f"{case}: NOISE, cores busy before each round: {output}\n")


def _steps(seen: Seen) -> str:
    """Return what ours did when, in the round that was the median."""
    output = sorted(seen.output, key=lambda item: float(item["seconds"]))[
        len(seen.output) // 2
    ]
    lines = [f"{at:8.2f}  {stage}: {text}" for at, stage, text in output.pop("steps")]
    return "\n".join([f"ours: {output}", *lines])


def _row(case: str, seen: Seen, at: int | None = None) -> str:
    if at is not None:
        seen = seen.only(at)
    values = seen.medians()
    floor, ours, recipe = values["floor_s"], values["ours_s"], values["recipe_s"]
    to_floor = f"{ours / floor:5.2f} x" if floor and ours else "-"
    faster = f"{recipe / ours:5.2f} x" if recipe and ours else "-"
    output = [f"{value:7.2f}" if value else "      -" for value in values.values()]
    return f"{case:<8} {' '.join(output)}   {to_floor:>8} {faster:>8}"


if __name__ == "__main__":
    main()
