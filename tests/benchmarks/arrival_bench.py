"""The cases, and one round of each: the floor, ours, the recipe."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import IO, Any, Final

import psutil

from spicy_avocado_magic.config.settings import Endpoints
from spicy_avocado_magic.config.validators import OLLAMA_VERSION
from spicy_avocado_magic.engine.install.release import archive_for
from spicy_avocado_magic.protocol.json_codec import from_json, to_json
from tests.main_job.home import Home

from . import arrival_floor as floors
from .arrival_home import empty_home, end_all
from .arrival_ours import arrive
from .arrival_recipe import Arrival, follow_recipe, free_port
from .arrival_world import MODEL
from .throttle import Shape

MBIT: Final = 125_000.0
CASES: Final = {
    "total": Shape(total_bytes_s=100 * MBIT),
    "capped": Shape(total_bytes_s=800 * MBIT, connection_bytes_s=50 * MBIT),
    "fast": Shape(),
    "lossy": Shape(total_bytes_s=100 * MBIT, cut_every_bytes=20e6),
    "present": Shape(),
}


BUSY_CORES: Final = 0.3
"""With more, figures of what the processor binds mean little."""


@dataclass(slots=True)
class Seen:
    """What the rounds of one case took; None where there was no arrival."""

    floor_s: list[float] = field(default_factory=list)
    ours_s: list[float | None] = field(default_factory=list)
    recipe_s: list[float | None] = field(default_factory=list)
    recipe_loaded_s: list[float | None] = field(default_factory=list)
    """Until the recipe's model is in memory, as ours is when it arrives."""
    recipe_cpu_s: list[float] = field(default_factory=list)
    output: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    """Cores that others kept busy just before each round."""

    def medians(self) -> dict[str, float | None]:
        """Return the JSON of a case; None where a round did not arrive."""
        return {
            "floor_s": _median(self.floor_s),
            "ours_s": _median(self.ours_s),
            "recipe_s": _median(self.recipe_s),
            "recipe_loaded_s": _median(self.recipe_loaded_s),
        }

    def cpu_medians(self) -> tuple[float, float]:
        """Return CPU seconds of ours and of the recipe, until a model was loaded."""
        ours = [float(item["cpu_s"]) for item in self.output]
        return median(ours or [0.0]), median(self.recipe_cpu_s or [0.0])

    def only(self, at: int) -> Seen:
        """Return one round by itself."""
        return Seen(
            floor_s=[self.floor_s[at]],
            ours_s=[self.ours_s[at]],
            recipe_s=[self.recipe_s[at]],
            recipe_loaded_s=[self.recipe_loaded_s[at]],
        )


def busy_cores(watch_s: float = 1.0) -> float:
    """Return how many cores are busy, over the time given."""
    return psutil.cpu_percent(watch_s) / 100 * (os.cpu_count() or 1)


def _median(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return round(median(there), 2) if there and len(there) == len(values) else None


class Bench:
    """A world, and what is run in it."""

    def __init__(
        self,
        process: subprocess.Popen[str],
        kept: Home,
        *,
        has_program: bool,
        wait_quiet_s: float,
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input: IO[str] = process.stdin
        self._output: IO[str] = process.stdout
        output = json.loads(self._output.readline())
        self.sources = replace(from_json(Endpoints, output["sources"]), rehearsal=False)
        self.needed_bytes = int(output["needed_bytes"])
        self._archive_url = archive_for(
            OLLAMA_VERSION, self.sources.releases_url, "Linux", platform.machine()
        ).url
        self._urls = [self._archive_url, output["weights"]]
        self._kept, self._has_program = kept, has_program
        self._wait_quiet_s = wait_quiet_s

    def fill(self) -> None:
        """Bring everything into the kept home, once for both."""
        self.shape(Shape())
        arrive(self._kept, self.sources)
        self._recipe(self._kept)

    def shape(self, shape: Shape) -> dict[str, int]:
        """Give the link a shape; return what went through it before."""
        self._input.write(json.dumps(to_json(shape)) + "\n")
        self._input.flush()
        output: dict[str, int] = json.loads(self._output.readline())
        return output

    def round(self, case: str, number: int, seen: Seen) -> None:
        """Run one round of a case, every other one in the other order."""
        shape = replace(CASES[case], seed=number)
        seen.busy.append(self._await_quiet())
        os.sync()
        self.shape(Shape())
        seen.floor_s.append(self._floor_s(case))
        runs = [self._run_ours, self._run_recipe]
        for run in runs if number % 2 else reversed(runs):
            os.sync()
            self.shape(shape)
            with self._home(case) as home:
                run(home, seen)

    def _await_quiet(self) -> float:
        """Wait for others to rest, within bounds; return the cores that are busy."""
        deadline = time.monotonic() + self._wait_quiet_s
        while (busy := busy_cores()) > BUSY_CORES and time.monotonic() < deadline:
            pass  # looking takes its time
        return busy

    @contextlib.contextmanager
    def _home(self, case: str) -> Iterator[Home]:
        if case != "present":
            with empty_home() as home:
                yield home
            return
        yield self._kept
        end_all(self._kept)

    def _floor_s(self, case: str) -> float:
        if case == "present":
            with self._home(case) as home:
                program = next((home.path / "cache").rglob("bin/ollama"))
                return floors.bare_start_s(program, home, MODEL, free_port())
        if case == "fast":
            return floors.measured_floor_s(self._urls)
        return floors.link_floor_s(CASES[case], self.needed_bytes)

    def _run_ours(self, home: Home, seen: Seen) -> None:
        try:
            output = arrive(home, self.sources)
        except RuntimeError as error:
            seen.ours_s.append(None)
            seen.notes.append(str(error))
            return
        output |= self.shape(Shape())
        seen.ours_s.append(output["seconds"])
        seen.output.append(output)

    def _run_recipe(self, home: Home, seen: Seen) -> None:
        arrival = self._recipe(home)
        is_there = not arrival.failed_at
        seen.recipe_s.append(arrival.seconds if is_there else None)
        seen.recipe_loaded_s.append(arrival.loaded_s if is_there else None)
        seen.recipe_cpu_s.append(arrival.cpu_s)
        if arrival.failed_at:
            seen.notes.append(
                f"the recipe failed at {arrival.failed_at} after "
                f"{arrival.seconds:.1f} s: {arrival.text}"
            )

    def _recipe(self, home: Home) -> Arrival:
        return follow_recipe(
            home,
            self.sources,
            archive_url=self._archive_url,
            has_program=self._has_program,
        )

    def cpu(self, folder: Path) -> dict[str, float]:
        """Compare CPU seconds of fetching, hashing and unpacking the archive.

        Ours are those by which a host that has only the models at first spends more
        than one that has everything.
        """
        self.shape(Shape())
        pipeline = floors.pipeline_cpu_s(self._archive_url, folder / "pipeline")
        with self._home("present") as home:
            whole = arrive(home, self.sources)["host_cpu_s"]
        with empty_home() as home:
            models = Path("home", ".ollama", "models")
            shutil.copytree(
                self._kept.path / models, home.path / models, copy_function=os.link
            )
            installing = arrive(home, self.sources)["host_cpu_s"]
        return {"pipeline_cpu_s": pipeline, "install_cpu_s": installing - whole}
