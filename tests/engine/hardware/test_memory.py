"""RAM and VRAM that are free for models."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import psutil
import pytest

from spicy_avocado_magic.engine.hardware import memory
from spicy_avocado_magic.engine.hardware.memory import (
    cgroup_free,
    list_gpus,
    read_memory,
    visible_gpus,
)
from spicy_avocado_magic.engine.hardware.nvidia import Gpu

MIB = 1 << 20
T4 = Gpu(name="Tesla T4", total_bytes=15360 * MIB, free_bytes=15000 * MIB)


OTHER = Gpu(name="Other", total_bytes=1, free_bytes=1)


@pytest.mark.parametrize(
    ("listed", "seen"),
    [
        (None, (T4, OTHER)),
        ("1", (OTHER,)),
        ("0,1", (T4, OTHER)),
        ("7", ()),
        ("", ()),
        ("-1", ()),
        ("GPU-4711", (T4, OTHER)),
    ],
)
def test_only_gpus_visible_to_the_engine_count(
    listed: str | None, seen: tuple[Gpu, ...]
) -> None:
    """``nvidia-smi`` itself ignores ``CUDA_VISIBLE_DEVICES``."""
    environ = {} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}
    assert visible_gpus((T4, OTHER), environ) == seen


def write(folder: Path, **texts: str) -> None:
    """Write a cgroup's files."""
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_a_containers_limit_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Droppable cache counts as free; a limit above the machine is no limit."""
    write(
        tmp_path,
        memory_DOT_max="1000\n",
        memory_DOT_current="700\n",
        memory_DOT_stat="anon 400\ninactive_file 250\n",
    )
    assert cgroup_free(tmp_path) == 550
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    assert read_memory((T4,)).ram_free == 550
    write(tmp_path, memory_DOT_max="max\n")
    assert cgroup_free(tmp_path) is None
    machine = read_memory((T4, T4))
    assert machine.ram_free > 550
    assert (machine.gpus, machine.vram_total) == (2, 2 * T4.total_bytes)
    assert machine.vram_free == 2 * T4.free_bytes


@pytest.mark.parametrize(
    ("gpus", "share"), [((Gpu(name="NVIDIA GB10", driver=580),), 1.0), ((), 2 / 3)]
)
def test_a_gpu_with_shared_memory_does_not_count_it_twice(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gpus: tuple[Gpu, ...],
    share: float,
) -> None:
    """Memory given to the GPU is taken off the free RAM."""
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    alone = read_memory(())
    if not gpus:
        monkeypatch.setattr(sys, "platform", "darwin")
        monkeypatch.setattr(platform, "machine", lambda: "arm64")
        gpus = list_gpus()
    shared = read_memory(gpus)
    total = psutil.virtual_memory().total
    assert shared.gpus == 1
    assert shared.vram_total == pytest.approx(total * share)
    assert shared.vram_free <= shared.vram_total
    both = shared.vram_free + shared.ram_free
    assert both == pytest.approx(alone.ram_free, rel=0.2), "memory counts twice"


def test_limits_of_cgroup_version_1_are_read(tmp_path: Path) -> None:
    """Version 1 has a folder of its own for them."""
    write(
        tmp_path,
        memory__memory_DOT_limit_in_bytes="1000",
        memory__memory_DOT_usage_in_bytes="900",
        memory__memory_DOT_stat="total_inactive_file 100",
    )
    assert cgroup_free(tmp_path) == 200
    assert cgroup_free(tmp_path / "nowhere") is None
