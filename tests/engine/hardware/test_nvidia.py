"""Which cards there are, by a stand-in ``nvidia-smi``, and what they can use."""

from __future__ import annotations

from pathlib import Path

import pytest

from spicy_avocado_magic.config.validators import OLLAMA_VERSION
from spicy_avocado_magic.engine.hardware.nvidia import (
    GpuLibraries,
    NvidiaCard,
    list_nvidia_cards,
    select_gpu_libraries,
)

T4 = NvidiaCard(name="Tesla T4", driver=550, compute=(7, 5))
P100 = NvidiaCard(name="Tesla P100", driver=570, compute=(6, 0))


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a stand-in for NVIDIA's tool on PATH, and nothing else."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n# A stand-in for NVIDIA's tool.\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("script", "cards"),
    [
        ("echo 'Tesla T4, 550.54.15, 7.5'", (T4,)),
        ("echo 'Tesla T4, 550.54.15, 7.5'; echo 'Tesla P100, 570.1, 6.0'", (T4, P100)),
        ("echo 'No devices were found'", ()),
        ("echo 'NVIDIA-SMI has failed, no driver'", ()),
        ("echo 'Tesla T4, 550.54.15, 7.5'; exit 9", ()),
        (
            "case $1 in *compute*) exit 2;; esac; echo 'Tesla K80, 470.57.02'",
            (NvidiaCard(name="Tesla K80", driver=470, compute=None),),
        ),
    ],
)
def test_the_tool_tells_cards_with_driver_and_compute_capability(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    cards: tuple[NvidiaCard, ...],
) -> None:
    """A tool without a driver tells none; an old one tells no compute capability."""
    stand_in(tmp_path, monkeypatch, script)
    assert list_nvidia_cards() == cards


def test_no_tool_means_no_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU machine is no error."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list_nvidia_cards() == ()


def test_a_tool_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that is stuck counts as none."""
    monkeypatch.setattr("spicy_avocado_magic.engine.hardware.nvidia.LONGEST_S", 0.2)
    stand_in(tmp_path, monkeypatch, "exec /bin/sleep 60")
    assert list_nvidia_cards() == ()


def card(driver: int, compute: tuple[int, int] | None) -> NvidiaCard:
    """Return a card of which only this matters."""
    return NvidiaCard(name="GPU", driver=driver, compute=compute)


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
def test_a_card_gets_the_one_folder_it_can_use(
    driver: int, compute: tuple[int, int] | None, folder: str
) -> None:
    """Native code wins; what must be compiled is for cards that have no other."""
    chosen = select_gpu_libraries([card(driver, compute)], OLLAMA_VERSION)
    assert chosen == GpuLibraries(folders=frozenset({folder}))


def test_cards_of_two_kinds_share_one_folder() -> None:
    """Never both; the one with code for all of them."""
    chosen = select_gpu_libraries(
        [card(580, (12, 1)), card(580, (7, 5))], OLLAMA_VERSION
    )
    assert chosen.folders == {"cuda_v12"}


def test_without_a_card_there_is_nothing_to_say() -> None:
    """A CPU machine gets no libraries and no warning."""
    assert select_gpu_libraries([], OLLAMA_VERSION) == GpuLibraries()


@pytest.mark.parametrize(
    ("driver", "compute", "says"),
    [
        (535, (7, 5), ["(535)", "550 or newer", "CPU", "--ollama-version 0.24.0"]),
        (560, (6, 0), ["(560)", "570 or newer", "CPU", "--ollama-version 0.24.0"]),
        (470, (7, 5), ["(470)", "550 or newer", "CPU"]),
        (580, (3, 7), ["compute capability 5.0", "CPU"]),
    ],
)
def test_what_is_too_old_is_told_with_what_works_instead(
    driver: int, compute: tuple[int, int], says: list[str]
) -> None:
    """Nothing is installed for it; an older release is named only where it works."""
    chosen = select_gpu_libraries([card(driver, compute)], OLLAMA_VERSION)
    assert chosen.folders == frozenset(), "libraries nobody can use"
    missing = [text for text in says if text not in chosen.warning]
    assert not missing, chosen.warning
    names_older = "0.24.0" in chosen.warning
    assert names_older is ("--ollama-version 0.24.0" in says), chosen.warning


@pytest.mark.parametrize("version", ["0.24.0", "0.11.4"])
def test_older_releases_work_with_older_drivers(version: str) -> None:
    """The way out that is named is one."""
    for old in (card(535, (7, 5)), card(535, (6, 0))):
        assert select_gpu_libraries([old], version).folders == {"cuda_v12"}
    assert not select_gpu_libraries([card(470, (7, 5))], version).folders


def test_one_card_of_two_that_is_too_old_is_told() -> None:
    """The other one is used."""
    cards = [card(560, (8, 9)), NvidiaCard(name="Old", driver=560, compute=(6, 1))]
    chosen = select_gpu_libraries(cards, OLLAMA_VERSION)
    assert chosen.folders == {"cuda_v12"}
    assert "Old" in chosen.warning
    assert "It is not used" in chosen.warning
