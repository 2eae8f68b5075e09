"""Memory for models on this machine: VRAM by ``nvidia-smi``, RAM by psutil."""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from .memory_fit import AvailableMemory
from .nvidia import Gpu, list_nvidia_gpus

_APPLE: Final = "Apple GPU"
_APPLE_SHARE: Final = 2 / 3
"""Of RAM: 10922.67 MB of 16 GB is ``recommendedMaxWorkingSetSize`` in what
llama.cpp logs (abetlen/llama-cpp-python#687); larger machines give more."""

CGROUPS: Final = Path("/sys/fs/cgroup")


def list_gpus() -> tuple[Gpu, ...]:
    """Return Apple's GPU, or those that ``nvidia-smi`` lists; blocks."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return (Gpu(name=_APPLE),)
    return list_nvidia_gpus()


def visible_gpus(gpus: tuple[Gpu, ...], environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the GPUs that ``CUDA_VISIBLE_DEVICES`` lets the engine see."""
    listed = environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return gpus
    numbers = [part.strip() for part in listed.split(",")]
    if numbers and all(part.isdigit() for part in numbers):
        return tuple(gpus[int(n)] for n in numbers if int(n) < len(gpus))
    # Other values name GPUs by UUID; only these two mean none.
    return () if listed.strip() in {"", "-1"} else gpus


def read_memory(gpus: tuple[Gpu, ...]) -> AvailableMemory:
    """Return the memory that is free now for models on these GPUs; blocks."""
    machine = psutil.virtual_memory()
    limit = cgroup_free(CGROUPS)
    free = machine.available + psutil.swap_memory().free
    free = free if limit is None else min(free, limit)
    total = sum(gpu.total_bytes for gpu in gpus)
    total_free = sum(gpu.free_bytes for gpu in gpus)
    if gpus and not total:
        share = _APPLE_SHARE if gpus[0].name == _APPLE else 1.0
        total = int(machine.total * share)
        total_free = min(free, total)
        free -= total_free
    return AvailableMemory(
        vram_total=total, vram_free=total_free, gpus=len(gpus), ram_free=free
    )


def cgroup_free(root: Path) -> int | None:
    """Return the bytes left below a container's memory limit; None without a limit.

    File cache that the kernel can drop counts as free. Both versions of the interface
    are read (``cgroup-v2.rst`` and ``cgroup-v1/memory.rst`` in Linux).
    """
    for limit, usage, dropped in (
        ("memory.max", "memory.current", "inactive_file"),
        (
            "memory/memory.limit_in_bytes",
            "memory/memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ):
        with contextlib.suppress(OSError, ValueError):
            limit_bytes = int((root / limit).read_text())
            used = int((root / usage).read_text())
            statistics = (root / limit).with_name("memory.stat").read_text()
            counts = dict(line.split() for line in statistics.splitlines())
            return max(0, limit_bytes - used + int(counts.get(dropped, 0)))
    return None
