"""Checks of GPU, driver, engine and agent, with scripts on PATH."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.doctor import programs
from spicy_avocado_magic.doctor.programs import (
    check_agent,
    check_engine,
    check_gpu,
    has_cuda,
)
from spicy_avocado_magic.doctor.runner import Check, run_checks
from spicy_avocado_magic.protocol.finding import CheckStatus, Finding
from spicy_avocado_magic.system.platforms import Platform

from .conftest import New

Make = Callable[[str, str], Path]


@pytest.fixture
def driver(home: Path) -> Platform:
    """Return a platform with the driver's library in its folder of libraries."""
    (home / "libcuda.so.1").touch()
    return Platform(name="a machine", library_path=str(home))


def test_a_usable_gpu_is_reported(
    new_context: New, program: Make, driver: Platform
) -> None:
    """The message has its driver and the library that is chosen for it."""
    program("nvidia-smi", "echo 'Tesla T4, 550.54.15, 7.5, 15360, 15000'")
    found = check_gpu(new_context(platform=driver))
    assert found.verdict is CheckStatus.OK, found
    for word in ("Tesla T4", "550", "cuda_v12"):
        assert word in found.what


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'Tesla T4, 535.104.05, 7.5, 15360, 15000'", ("535", "too old", "550")),
        ("echo 'Tesla P100, 550.54, 6.0, 15360, 15000'", ("too old", "570")),
        ("echo 'NVIDIA-SMI has failed' >&2; exit 9", ("reports no GPU",)),
    ],
)
def test_a_driver_that_silently_puts_models_on_the_cpu_is_reported(
    new_context: New,
    program: Make,
    driver: Platform,
    script: str,
    words: tuple[str, ...],
) -> None:
    """It is older than the engine's minimum, or does not work."""
    program("nvidia-smi", script)
    found = check_gpu(new_context(platform=driver))
    assert found.verdict is CheckStatus.WARNING, found
    for word in words:
        assert word in found.what, found
    assert found.remedy


def test_an_older_engine_accepts_an_older_driver(
    new_context: New, program: Make, driver: Platform
) -> None:
    """The requested version decides."""
    program("nvidia-smi", "echo 'Tesla T4, 535.104.05, 7.5, 15360, 15000'")
    settings = Settings(ollama_version="0.24.0")
    found = check_gpu(new_context(platform=driver, settings=settings))
    assert found.verdict is CheckStatus.OK, found


def test_a_gpu_without_its_library_or_hidden_is_reported(
    new_context: New, program: Make, monkeypatch: pytest.MonkeyPatch, driver: Platform
) -> None:
    """The engine opens the library by its plain name."""
    program("nvidia-smi", "echo 'Tesla T4, 550.54.15, 7.5, 15360, 15000'")
    if not has_cuda(""):
        found = check_gpu(new_context())
        assert found.verdict is CheckStatus.WARNING, found
        assert "libcuda.so.1" in found.what
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    found = check_gpu(new_context(platform=driver))
    assert "CUDA_VISIBLE_DEVICES" in found.what, found


def test_no_gpu_is_a_warning_except_in_a_rehearsal(
    new_context: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models run slowly, on the CPU."""
    monkeypatch.setattr(programs, "_DEVICE", Path("/nowhere"))
    found = check_gpu(new_context())
    assert found.verdict is CheckStatus.WARNING, found
    assert "slowly" in found.what
    assert check_gpu(new_context(rehearsal=True)).verdict is CheckStatus.OK


@pytest.mark.parametrize(
    ("script", "verdict", "word"),
    [
        ("echo 'ollama version is 0.34.1'", CheckStatus.OK, "0.34.1 is on PATH"),
        ("echo 'ollama version is 0.5.7'", CheckStatus.WARNING, "0.5.7"),
        ("exit 1", CheckStatus.WARNING, "does not report its version"),
    ],
)
def test_the_engine_on_path_is_reported(
    new_context: New, program: Make, script: str, verdict: CheckStatus, word: str
) -> None:
    """The message has its version, and whether it is used."""
    program("ollama", script)
    found = check_engine(new_context())
    assert found.verdict is verdict, found
    assert word in found.what


def test_without_an_engine_one_is_downloaded(new_context: New, program: Make) -> None:
    """So it is if a version was requested."""
    assert "downloaded if" in check_engine(new_context()).what
    program("ollama", "exit 1")
    context = new_context(settings=Settings(ollama_version="0.12.3"))
    assert "0.12.3 was requested" in check_engine(context).what


def _agent(new_context: New, monkeypatch: pytest.MonkeyPatch, path: Path) -> Finding:
    monkeypatch.setenv("PYNGROK_NGROK_PATH", str(path))
    return run_checks(new_context(), (Check("agent", check_agent),))[0]


@pytest.mark.parametrize(
    ("script", "verdict", "word"),
    [
        ("echo 'ngrok version 3.31.0'", CheckStatus.OK, "3.31.0"),
        (
            "echo 'ngrok version 3.22.1'",
            CheckStatus.BROKEN,
            "3.22.1 is older than 3.30",
        ),
        ("exit 3", CheckStatus.BROKEN, "not a working ngrok agent"),
    ],
)
def test_the_version_of_the_agent_is_checked(
    new_context: New,
    program: Make,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    verdict: CheckStatus,
    word: str,
) -> None:
    """One that is too old may hang for ever."""
    found = _agent(new_context, monkeypatch, program("ngrok", script))
    assert found.verdict is verdict, found
    assert word in found.what


def test_a_missing_agent_is_a_problem_only_where_it_cannot_be_installed(
    new_context: New,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_disk: Callable[[str], Path],
) -> None:
    """The check itself does not download it."""
    path = home / "agents" / "ngrok"
    assert "downloads it" in _agent(new_context, monkeypatch, path).what
    assert not path.parent.exists(), "the check created a folder"
    closed = small_disk("size=1m,ro") / "agents" / "ngrok"
    found = _agent(new_context, monkeypatch, closed)
    assert found.verdict is CheckStatus.BROKEN, found
    assert "is not writable" in found.what
