"""How much memory there is, with a stand-in for nvidia-smi."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import psutil
import pytest

from spicy_avocado_magic.engine.hardware import memory
from spicy_avocado_magic.engine.hardware.memory import (
    Gpu,
    cgroup_free,
    list_gpus,
    parse_gpus,
    read_memory,
    visible,
)

MIB = 1 << 20
T4 = Gpu(name="Tesla T4", total_bytes=15360 * MIB, free_bytes=15000 * MIB)


def stand_in(folder: Path, script: str) -> None:
    """Put a program named nvidia-smi there, which is none."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "gpus"),
    [
        ("echo 'Tesla T4, 15360, 15000'; echo 'Tesla T4, 15360, 15000'", (T4, T4)),
        ("echo 'No devices were found'; exit 6", ()),
        ("echo 'NVIDIA GB10, [N/A], [N/A]'", (Gpu(name="NVIDIA GB10"),)),
        ("exit 9", ()),
        ("echo 'Tesla T4, 550.54.15, 7.5'", ()),
        (None, ()),
    ],
)
def test_gpus_are_what_nvidia_smi_tells(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str | None,
    gpus: tuple[Gpu, ...],
) -> None:
    """No tool and no driver are no GPU, and no crash."""
    if script is not None:
        stand_in(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list_gpus() == gpus


def test_the_question_is_one_that_nvidia_smi_understands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Name, total and free, in MiB without units."""
    stand_in(tmp_path, 'echo "$@" > "$0.asked"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    list_gpus()
    assert (tmp_path / "nvidia-smi.asked").read_text().split() == [
        "--query-gpu=name,memory.total,memory.free",
        "--format=csv,noheader,nounits",
    ]


def test_a_name_with_commas_and_escapes_is_only_text() -> None:
    """What a tool prints reaches the screen without what a terminal obeys."""
    (gpu,) = parse_gpus("A, B \x1b[31mC, 10, 5\n")
    assert (gpu.name, gpu.total_bytes, gpu.free_bytes) == (
        "A, B C",
        10 * MIB,
        5 * MIB,
    )


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
def test_only_gpus_that_the_engine_may_see_count(
    listed: str | None, seen: tuple[Gpu, ...]
) -> None:
    """``CUDA_VISIBLE_DEVICES`` reaches the engine; nvidia-smi passes it over."""
    environ = {} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}
    assert visible((T4, OTHER), environ) == seen


def write(folder: Path, **texts: str) -> None:
    """Write a cgroup's files."""
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def test_a_containers_limit_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cache that can be dropped is free; a limit above the machine is none."""
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
    ("listed", "share"), [("NVIDIA GB10, [N/A], [N/A]", 1.0), ("", 2 / 3)]
)
def test_a_gpu_that_shares_the_machines_memory_has_that_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str, share: float
) -> None:
    """What the GPU takes is not there for the CPU a second time."""
    monkeypatch.setattr(memory, "CGROUPS", tmp_path)
    alone = read_memory(())
    if listed:
        gpus = parse_gpus(listed)
    else:
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


def test_the_older_interface_of_limits_is_read_too(tmp_path: Path) -> None:
    """Version 1 keeps them in a folder of its own."""
    write(
        tmp_path,
        memory__memory_DOT_limit_in_bytes="1000",
        memory__memory_DOT_usage_in_bytes="900",
        memory__memory_DOT_stat="total_inactive_file 100",
    )
    assert cgroup_free(tmp_path) == 200
    assert cgroup_free(tmp_path / "nowhere") is None
