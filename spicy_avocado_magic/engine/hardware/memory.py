"""How much memory this machine has for models: GPUs by nvidia-smi, RAM by psutil."""

from __future__ import annotations

import contextlib
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from ...system.redaction import strip_control_chars
from .memory_fit import AvailableMemory
from .nvidia import query_nvidia_smi

_MIB: Final = 1 << 20
_SIZE: Final = re.compile(r"[0-9]+|\[.*\]")
_FIELDS: Final = "name,memory.total,memory.free"
_APPLE: Final = "Apple GPU"
_APPLE_SHARE: Final = 2 / 3
"""Of RAM: 10922.67 MB of 16 GB is ``recommendedMaxWorkingSetSize`` in what
llama.cpp logs (abetlen/llama-cpp-python#687); larger machines give more."""

CGROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as its driver sees it, whether or not the engine can use it."""

    name: str
    total_bytes: int = 0
    """0 where it shares the machine's RAM."""
    free_bytes: int = 0


def list_gpus() -> tuple[Gpu, ...]:
    """Return Apple's GPU, or what ``nvidia-smi`` lists; blocks; else none."""
    if sys.platform == "darwin" and platform.machine() == "arm64":
        return (Gpu(name=_APPLE),)
    listed = query_nvidia_smi(_FIELDS, "csv,noheader,nounits")
    return () if listed is None else parse_gpus(listed.stdout)


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Read ``nvidia-smi``'s lines of name, MiB in total and MiB free.

    A GPU that shares the machine's RAM tells ``[N/A]`` for both.
    """
    found = []
    for line in text.splitlines():
        name, *sizes = (part.strip() for part in line.rsplit(",", 2))
        if len(sizes) != 2 or not all(map(_SIZE.fullmatch, sizes)):  # noqa: PLR2004
            continue
        total, free = (int(size) * _MIB if size.isdigit() else 0 for size in sizes)
        found.append(
            Gpu(name=strip_control_chars(name), total_bytes=total, free_bytes=free)
        )
    return tuple(found)


def visible(gpus: tuple[Gpu, ...], environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the GPUs that ``CUDA_VISIBLE_DEVICES`` lets the engine see."""
    listed = environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return gpus
    numbers = [part.strip() for part in listed.split(",")]
    if numbers and all(part.isdigit() for part in numbers):
        return tuple(gpus[int(n)] for n in numbers if int(n) < len(gpus))
    # Other forms name GPUs by UUID; only these two mean none.
    return () if listed.strip() in {"", "-1"} else gpus


def read_memory(gpus: tuple[Gpu, ...]) -> AvailableMemory:
    """Return what is free now for models that use these GPUs; blocks."""
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
    """Return the bytes that a container's limit leaves; None without a limit.

    File cache that the kernel can drop counts as free. Version 2 and 1 of the
    interface are those of ``cgroup-v2.rst`` and ``cgroup-v1/memory.rst`` in Linux.
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
