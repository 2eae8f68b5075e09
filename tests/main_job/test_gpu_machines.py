"""Libraries installed for the GPU that a stand-in ``nvidia-smi`` reports."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from spicy_avocado_magic.config.settings import Endpoints
from spicy_avocado_magic.config.validators import OLLAMA_VERSION
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.system.paths import engines_folder

from .home import Home


@pytest.fixture
def card(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that says what card this machine has."""
    output, program = tmp_path / "card", tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n# A stand-in for NVIDIA's tool.\ncat '{output}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return output


def libraries(flavour: str) -> set[str]:
    """Return the folders of libraries that were installed."""
    home = engines_folder(rehearsal=False) / flavour / "lib" / "ollama"
    return {path.name for path in home.iterdir() if path.is_dir()}


@pytest.mark.parametrize(
    ("output", "folder"),
    [
        ("Tesla T4, 550.54.15, 7.5, 15360, 15000", "cuda_v12"),
        ("NVIDIA GB10, 580.1, 12.1, 15360, 15000", "cuda_v13"),
    ],
)
def test_a_gpu_gets_its_libraries_and_no_others(
    home: Home, world: Endpoints, card: Path, output: str, folder: str
) -> None:
    """One folder for the card; vulkan and the other one are left out."""
    card.write_text(output)
    avocado = home.up("tiny", sources=world, local=True)
    state = avocado.status()
    assert state is not None
    # The stand-in engine never finds a GPU; nothing is wrong with the driver.
    (warning,) = state.warnings
    assert "Ollama found none" in warning
    assert libraries(f"{OLLAMA_VERSION}-{folder}") == {folder}


def test_a_driver_that_is_too_old_is_an_error_before_any_download(
    home: Home, world: Endpoints, card: Path
) -> None:
    """The warning says what works instead, and stays; no library is installed."""
    card.write_text("Tesla T4, 535.104.05, 7.5, 15360, 15000")
    seen: list[State] = []
    avocado = home.up("tiny", sources=world, local=True, show=seen.append)
    fetched = [s for s in seen for p in s.stages if p.name == "install" and p.progress]
    assert fetched, "the archive was not shown"
    assert all("--ollama-version 0.24.0" in s.warnings[0] for s in fetched), "too late"
    state = avocado.status()
    assert state is not None
    assert "CPU" in state.warnings[0]
    assert libraries(f"{OLLAMA_VERSION}-cpu") == set()


def test_the_older_version_that_is_named_works_without_a_warning(
    home: Home, world: Endpoints, card: Path
) -> None:
    """What the warning advises is right."""
    card.write_text("Tesla T4, 535.104.05, 7.5, 15360, 15000")
    avocado = home.up("tiny", sources=world, local=True, ollama_version="0.24.0")
    state = avocado.status()
    assert state is not None
    # The stand-in engine never finds a GPU; nothing is wrong with the driver.
    (warning,) = state.warnings
    assert "Ollama found none" in warning
    assert libraries("0.24.0-cuda_v12") == {"cuda_v12"}
