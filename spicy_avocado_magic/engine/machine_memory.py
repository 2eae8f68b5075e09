"""How much memory this machine has for models: GPUs by nvidia-smi, RAM by psutil."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from ..secrets import plain_text
from .fit import Memory

_NVIDIA_SMI_S: Final = 10.0
_MIB: Final = 1 << 20
_QUERY: Final = "--query-gpu=name,memory.total,memory.free"
CGROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as its driver sees it, whether or not the engine can use it."""

    name: str
    total_bytes: int
    free_bytes: int


def list_gpus() -> tuple[Gpu, ...]:
    """Return what ``nvidia-smi`` lists; blocks; empty where there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        listed = subprocess.run(
            [program, _QUERY, "--format=csv,noheader,nounits"],
            capture_output=True,
            check=False,
            timeout=_NVIDIA_SMI_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse_gpus(listed.stdout.decode(errors="replace"))


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """Read ``nvidia-smi``'s lines of name, MiB in total and MiB free.

    A GPU that shares the machine's RAM shows no memory of its own and is left out.
    """
    found = []
    for line in text.splitlines():
        name, *sizes = (part.strip() for part in line.rsplit(",", 2))
        if len(sizes) == 2 and all(size.isdigit() for size in sizes):  # noqa: PLR2004
            total, free = (int(size) * _MIB for size in sizes)
            found.append(Gpu(name=plain_text(name), total_bytes=total, free_bytes=free))
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


def read_memory(gpus: tuple[Gpu, ...]) -> Memory:
    """Return what is free now for models that use these GPUs; blocks."""
    free = psutil.virtual_memory().available + psutil.swap_memory().free
    limit = cgroup_free(CGROUPS)
    return Memory(
        vram_total=sum(gpu.total_bytes for gpu in gpus),
        vram_free=sum(gpu.free_bytes for gpu in gpus),
        gpus=len(gpus),
        ram_free=free if limit is None else min(free, limit),
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
