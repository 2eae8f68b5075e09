"""NVIDIA GPUs by ``nvidia-smi``, and the CUDA libraries that they can use."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ...system.redaction import strip_control_chars

LONGEST_S: Final = 10.0
"""Bound of one query: a driver that has powered down takes seconds to answer."""

_QUERIES: Final = (
    "name,driver_version,compute_cap,memory.total,memory.free",
    "name,driver_version,memory.total,memory.free",
)
"""Names of ``nvidia-smi --help-query-gpu``; drivers before 510 lack compute_cap."""

_MIB: Final = 1 << 20
_SIZE: Final = re.compile(r"[0-9]+|\[.*\]")

_OLDEST_COMPUTE: Final = (5, 0)
_LEGACY_COMPUTE: Final = (7, 0)
_NEWEST_NATIVE: Final = (12, 0)
_THOR: Final = 11
_CUDA_13_DRIVER: Final = 580
_LLAMA_SERVER_SINCE: Final = (0, 30, 0)
_LAST_BEFORE: Final = "0.24.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU as its driver reports it, whether or not the engine can use it."""

    name: str
    driver: int = 0
    """Major version of the NVIDIA driver, such as 550; 0 for Apple's GPU."""
    compute: tuple[int, int] | None = None
    """Compute capability; None where the driver is too old to report it."""
    total_bytes: int = 0
    """0 where it shares the machine's RAM."""
    free_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuLibraries:
    """CUDA libraries to install for the GPUs, and a warning for their owner."""

    folders: frozenset[str] = frozenset()
    """Under ``lib/ollama``; empty where models run on the CPU."""
    warning: str = ""


def list_nvidia_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that ``nvidia-smi`` lists; blocks for 20 s at most.

    Empty where the tool is missing, fails or hangs.
    """
    for fields in _QUERIES:
        result = query_nvidia_smi(fields)
        if result is None:
            return ()
        if result.returncode == 0:
            return parse_gpus(fields, result.stdout)
    return ()


def query_nvidia_smi(fields: str) -> subprocess.CompletedProcess[str] | None:
    """Run ``nvidia-smi`` for these fields of every GPU, one line each; blocks.

    Returns:
        Its output and exit status; None where the tool is missing, cannot run, or
        does not end within ``LONGEST_S``.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        return subprocess.run(
            [program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"],
            capture_output=True,
            check=False,
            timeout=LONGEST_S,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def parse_gpus(fields: str, output: str) -> tuple[Gpu, ...]:
    """Parse the lines of ``nvidia-smi`` for these fields; skip all other lines.

    Sizes are in MiB. A GPU that shares the machine's RAM reports ``[N/A]``.
    """
    names = fields.split(",")
    rows = (line.rsplit(",", len(names) - 1) for line in output.splitlines())
    gpus = (_gpu(dict(zip(names, row, strict=False))) for row in rows)
    return tuple(gpu for gpu in gpus if gpu is not None)


def _gpu(row: Mapping[str, str]) -> Gpu | None:
    driver = re.match(r"\s*(\d+)", row.get("driver_version", ""))
    sizes = [row.get(f"memory.{kind}", "").strip() for kind in ("total", "free")]
    if driver is None or not all(map(_SIZE.fullmatch, sizes)):
        return None
    total, free = (int(size) * _MIB if size.isdigit() else 0 for size in sizes)
    compute = re.fullmatch(r"\s*(\d+)\.(\d+)", row.get("compute_cap", ""))
    return Gpu(
        name=strip_control_chars(row["name"].strip()),
        driver=int(driver[1]),
        compute=None if compute is None else (int(compute[1]), int(compute[2])),
        total_bytes=total,
        free_bytes=free,
    )


def select_gpu_libraries(gpus: Sequence[Gpu], version: str) -> GpuLibraries:
    """Return the folder of a release that these NVIDIA GPUs need: one, or none.

    ``cuda_v12`` has native code for compute capability 6.0 to 12.0. ``cuda_v13`` is
    compiled at the first load, which takes a minute, so it is for newer GPUs alone
    (``llama/server/CMakePresets.json`` in ollama/ollama 0.34.1). The oldest drivers
    are those of ``docs/gpu.mdx`` and ``discover/cuda_compat.go`` there, and of
    ``docs/gpu.md`` in 0.11.4.

    Args:
        gpus: Those of this machine.
        version: ``X.Y.Z`` of the engine.
    """
    if not gpus:
        return GpuLibraries()
    usable = [gpu for gpu in gpus if gpu.driver >= oldest_driver(gpu, version)]
    if not usable:
        effect = "Models run on the CPU, slowly."
        return GpuLibraries(warning=_too_old(gpus[0], version, effect))
    unusable = [gpu for gpu in gpus if gpu not in usable]
    needs_13 = all(_is_beyond_12(gpu) for gpu in usable)
    folder = "cuda_v13" if needs_13 else "cuda_v12"
    return GpuLibraries(
        folders=frozenset({folder}),
        warning=_too_old(unusable[0], version, "It is not used.") if unusable else "",
    )


def _is_beyond_12(gpu: Gpu) -> bool:
    if gpu.compute is None or gpu.driver < _CUDA_13_DRIVER:
        return False
    return gpu.compute > _NEWEST_NATIVE or gpu.compute[0] == _THOR


def oldest_driver(gpu: Gpu, version: str) -> float:
    """Return the oldest driver with which an engine uses a GPU; inf for none."""
    if gpu.compute is not None and gpu.compute < _OLDEST_COMPUTE:
        return float("inf")
    if _numbers(version) < _LLAMA_SERVER_SINCE:
        return 531
    is_legacy = gpu.compute is not None and gpu.compute < _LEGACY_COMPUTE
    return 570 if is_legacy else 550


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _too_old(gpu: Gpu, version: str, effect: str) -> str:
    """Return the warning for a GPU or driver that is too old, with its effect."""
    oldest = oldest_driver(gpu, version)
    if oldest == float("inf"):
        return (
            f"{gpu.name} is too old for Ollama {version}, which needs compute "
            f"capability 5.0 or newer. {effect}"
        )
    remedy = f"Install driver {oldest:.0f} or newer"
    if gpu.driver >= oldest_driver(gpu, _LAST_BEFORE):
        remedy += f", or use --ollama-version {_LAST_BEFORE}, which works with this one"
    return (
        f"The NVIDIA driver ({gpu.driver}) is too old for Ollama {version} on "
        f"{gpu.name}: it needs {oldest:.0f} or newer. {effect} {remedy}."
    )
