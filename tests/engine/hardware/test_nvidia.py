"""NVIDIA GPUs by a stand-in ``nvidia-smi``, and the libraries chosen for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from spicy_avocado_magic.config.validators import OLLAMA_VERSION
from spicy_avocado_magic.engine.hardware import nvidia
from spicy_avocado_magic.engine.hardware.nvidia import (
    Gpu,
    GpuLibraries,
    list_nvidia_gpus,
    parse_gpus,
    query_nvidia_smi,
    select_gpu_libraries,
)

MIB = 1 << 20
T4 = Gpu(
    name="Tesla T4",
    driver=550,
    compute=(7, 5),
    total_bytes=15360 * MIB,
    free_bytes=15000 * MIB,
)
P100 = replace(T4, name="Tesla P100", driver=570, compute=(6, 0))
K80 = replace(T4, name="Tesla K80", driver=470, compute=None)
GB10 = Gpu(name="NVIDIA GB10", driver=580, compute=(12, 1))
FIELDS = "name,driver_version,compute_cap,memory.total,memory.free"


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where ``nvidia-smi`` would be, before all other programs."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "nvidia-smi"


def write(tool: Path, script: str) -> None:
    """Make the tool a shell script."""
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)


@pytest.mark.parametrize(
    ("script", "gpus"),
    [
        ("echo 'Tesla T4, 550.54.15, 7.5, 15360, 15000'", (T4,)),
        (
            (
                "echo 'Tesla T4, 550.54.15, 7.5, 15360, 15000'\n"
                "echo 'Tesla P100, 570.1, 6.0, 15360, 15000'"
            ),
            (T4, P100),
        ),
        ("echo 'NVIDIA GB10, 580.1, 12.1, [N/A], [N/A]'", (GB10,)),
        ("echo 'No devices were found'", ()),
        ("echo 'No devices were found'; exit 6", ()),
        ("echo 'NVIDIA-SMI has failed, no driver'", ()),
        ("echo 'Tesla T4, 550.54.15, 7.5'", ()),
        ("echo 'Tesla T4, 550.54.15, 7.5, 15360, 15000'; exit 9", ()),
        ("exit 9", ()),
        (
            (
                "case $1 in *compute*) exit 2;; esac\n"
                "echo 'Tesla K80, 470.57.02, 15360, 15000'"
            ),
            (K80,),
        ),
    ],
)
def test_gpus_are_listed_with_driver_compute_capability_and_memory(
    tool: Path, script: str, gpus: tuple[Gpu, ...]
) -> None:
    """No driver is no GPU; an old driver reports no compute capability."""
    write(tool, script)
    assert list_nvidia_gpus() == gpus


def test_a_machine_without_nvidia_smi_has_no_nvidia_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU machine is no error."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list_nvidia_gpus() == ()


def test_one_query_asks_for_all_fields_and_keeps_output_and_exit_status(
    tool: Path,
) -> None:
    """Sizes come without units, and bytes that are not UTF-8 are replaced."""
    write(tool, "echo \"$@\"; printf 'T\\377'; exit 9")
    result = query_nvidia_smi(FIELDS)
    assert result is not None
    arguments = f"--query-gpu={FIELDS} --format=csv,noheader,nounits"
    assert result.stdout == f"{arguments}\nT\N{REPLACEMENT CHARACTER}"
    assert result.returncode == 9


@pytest.mark.parametrize("script", [None, "", "exec sleep 60"])
def test_a_tool_that_is_missing_broken_or_hangs_gives_no_result(
    tool: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    """A driver that hangs must not hold up the start."""
    monkeypatch.setattr(nvidia, "LONGEST_S", 0.2)
    if script == "":
        tool.write_bytes(b"\x7fELF of another machine")
        tool.chmod(0o700)
    elif script is not None:
        write(tool, script)
    assert query_nvidia_smi("name") is None, "a result came from nowhere"
    assert list_nvidia_gpus() == ()


def test_a_name_with_commas_and_escapes_is_only_text() -> None:
    """A name reaches the screen without control characters."""
    (gpu,) = parse_gpus(FIELDS, "A, B \x1b[31mC, 550, 7.5, 10, 5\n")
    assert gpu == Gpu(
        name="A, B C",
        driver=550,
        compute=(7, 5),
        total_bytes=10 * MIB,
        free_bytes=5 * MIB,
    )


def gpu(driver: int, compute: tuple[int, int] | None) -> Gpu:
    """Return a GPU with this driver and compute capability."""
    return Gpu(name="GPU", driver=driver, compute=compute)


@pytest.mark.parametrize(
    ("driver", "compute", "folder"),
    [
        (570, (6, 0), "cuda_v12"),
        (550, (7, 0), "cuda_v12"),
        (550, (7, 5), "cuda_v12"),
        (580, (7, 5), "cuda_v12"),
        (580, (8, 9), "cuda_v12"),
        (580, (9, 0), "cuda_v12"),
        (580, (10, 3), "cuda_v12"),
        (580, (12, 0), "cuda_v12"),
        (580, (12, 1), "cuda_v13"),
        (580, (11, 0), "cuda_v13"),
        (570, (12, 1), "cuda_v12"),
        (550, None, "cuda_v12"),
    ],
)
def test_a_gpu_gets_the_one_folder_of_libraries_it_can_use(
    driver: int, compute: tuple[int, int] | None, folder: str
) -> None:
    """Native code wins; code compiled at load time is for GPUs that have no other."""
    chosen = select_gpu_libraries([gpu(driver, compute)], OLLAMA_VERSION)
    assert chosen == GpuLibraries(folders=frozenset({folder}))


def test_gpus_of_two_kinds_share_one_folder() -> None:
    """Never both folders; the one with code for all of them."""
    chosen = select_gpu_libraries([gpu(580, (12, 1)), gpu(580, (7, 5))], OLLAMA_VERSION)
    assert chosen.folders == {"cuda_v12"}


def test_a_machine_without_a_gpu_gets_no_libraries_and_no_warning() -> None:
    """There is nothing to install and nothing to warn of."""
    assert select_gpu_libraries([], OLLAMA_VERSION) == GpuLibraries()


@pytest.mark.parametrize(
    ("driver", "compute", "words"),
    [
        (535, (7, 5), ["(535)", "550 or newer", "CPU", "--ollama-version 0.24.0"]),
        (560, (6, 0), ["(560)", "570 or newer", "CPU", "--ollama-version 0.24.0"]),
        (470, (7, 5), ["(470)", "550 or newer", "CPU"]),
        (580, (3, 7), ["compute capability 5.0", "CPU"]),
    ],
)
def test_the_warning_for_an_old_gpu_or_driver_names_what_works(
    driver: int, compute: tuple[int, int], words: list[str]
) -> None:
    """No libraries are installed; an older release is named only where it works."""
    chosen = select_gpu_libraries([gpu(driver, compute)], OLLAMA_VERSION)
    assert chosen.folders == frozenset(), "libraries that no GPU can use are installed"
    missing = [text for text in words if text not in chosen.warning]
    assert not missing, chosen.warning
    names_older = "0.24.0" in chosen.warning
    assert names_older is ("--ollama-version 0.24.0" in words), chosen.warning


@pytest.mark.parametrize("version", ["0.24.0", "0.11.4"])
def test_older_releases_work_with_older_drivers(version: str) -> None:
    """The older release named in the warning does work with such a driver."""
    for old in (gpu(535, (7, 5)), gpu(535, (6, 0))):
        assert select_gpu_libraries([old], version).folders == {"cuda_v12"}
    assert not select_gpu_libraries([gpu(470, (7, 5))], version).folders


def test_one_old_gpu_of_two_is_named_and_the_other_is_used() -> None:
    """The libraries are for the usable GPU."""
    gpus = [gpu(560, (8, 9)), Gpu(name="Old", driver=560, compute=(6, 1))]
    chosen = select_gpu_libraries(gpus, OLLAMA_VERSION)
    assert chosen.folders == {"cuda_v12"}
    assert "Old" in chosen.warning
    assert "It is not used" in chosen.warning
