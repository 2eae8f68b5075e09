"""GPU and driver, engine and agent, by stand-in programs on PATH."""

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
    """Return a platform on which the driver's library is where it should be."""
    (home / "libcuda.so.1").touch()
    return Platform(name="a machine", library_path=str(home))


def test_a_usable_card_is_told(new_case: New, program: Make, driver: Platform) -> None:
    """With its driver, and the library that is chosen for it."""
    program("nvidia-smi", "echo 'Tesla T4, 550.54.15, 7.5, 15360, 15000'")
    found = check_gpu(new_case(platform=driver))
    assert found.verdict is CheckStatus.OK, found
    for word in ("Tesla T4", "550", "cuda_v12"):
        assert word in found.what


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'Tesla T4, 535.104.05, 7.5, 15360, 15000'", ("535", "too old", "550")),
        ("echo 'Tesla P100, 550.54, 6.0, 15360, 15000'", ("too old", "570")),
        ("echo 'NVIDIA-SMI has failed' >&2; exit 9", ("tells of no card",)),
    ],
)
def test_what_puts_models_on_the_cpu_in_silence_is_told(
    new_case: New, program: Make, driver: Platform, script: str, words: tuple[str, ...]
) -> None:
    """A driver below the engine's floor, or one that does not work."""
    program("nvidia-smi", script)
    found = check_gpu(new_case(platform=driver))
    assert found.verdict is CheckStatus.WARNING, found
    for word in words:
        assert word in found.what, found
    assert found.remedy


def test_an_older_engine_has_an_older_floor(
    new_case: New, program: Make, driver: Platform
) -> None:
    """The version that is wanted decides."""
    program("nvidia-smi", "echo 'Tesla T4, 535.104.05, 7.5, 15360, 15000'")
    settings = Settings(ollama_version="0.24.0")
    found = check_gpu(new_case(platform=driver, settings=settings))
    assert found.verdict is CheckStatus.OK, found


def test_a_card_without_its_library_or_hidden_is_told(
    new_case: New, program: Make, monkeypatch: pytest.MonkeyPatch, driver: Platform
) -> None:
    """The engine opens the library by its plain name."""
    program("nvidia-smi", "echo 'Tesla T4, 550.54.15, 7.5, 15360, 15000'")
    if not has_cuda(""):
        found = check_gpu(new_case())
        assert found.verdict is CheckStatus.WARNING, found
        assert "libcuda.so.1" in found.what
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    found = check_gpu(new_case(platform=driver))
    assert "CUDA_VISIBLE_DEVICES" in found.what, found


def test_no_card_at_all_is_told_but_to_a_rehearsal(
    new_case: New, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs on a CPU, slowly."""
    monkeypatch.setattr(programs, "_DEVICE", Path("/nowhere"))
    found = check_gpu(new_case())
    assert found.verdict is CheckStatus.WARNING, found
    assert "slowly" in found.what
    assert check_gpu(new_case(rehearsal=True)).verdict is CheckStatus.OK


@pytest.mark.parametrize(
    ("script", "verdict", "word"),
    [
        ("echo 'ollama version is 0.34.1'", CheckStatus.OK, "0.34.1 is on PATH"),
        ("echo 'ollama version is 0.5.7'", CheckStatus.WARNING, "0.5.7"),
        ("exit 1", CheckStatus.WARNING, "does not tell its version"),
    ],
)
def test_the_engine_on_path_is_told(
    new_case: New, program: Make, script: str, verdict: CheckStatus, word: str
) -> None:
    """With its version, and whether it is used."""
    program("ollama", script)
    found = check_engine(new_case())
    assert found.verdict is verdict, found
    assert word in found.what


def test_without_an_engine_one_is_fetched(new_case: New, program: Make) -> None:
    """As with a version that was asked for."""
    assert "fetched if" in check_engine(new_case()).what
    program("ollama", "exit 1")
    case = new_case(settings=Settings(ollama_version="0.12.3"))
    assert "0.12.3 is asked for" in check_engine(case).what


def _agent(new_case: New, monkeypatch: pytest.MonkeyPatch, path: Path) -> Finding:
    monkeypatch.setenv("PYNGROK_NGROK_PATH", str(path))
    return run_checks(new_case(), (Check(name="agent", run=check_agent),))[0]


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
def test_the_agents_version_is_told(
    new_case: New,
    program: Make,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    verdict: CheckStatus,
    word: str,
) -> None:
    """One that is too old can hang for ever."""
    found = _agent(new_case, monkeypatch, program("ngrok", script))
    assert found.verdict is verdict, found
    assert word in found.what


def test_an_agent_that_is_not_there_is_fetched_where_that_can_be(
    new_case: New,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_disk: Callable[[str], Path],
) -> None:
    """It is not fetched now; ``--local`` needs none."""
    path = home / "agents" / "ngrok"
    assert "fetches it" in _agent(new_case, monkeypatch, path).what
    assert not path.parent.exists(), "an examination made a folder"
    local = check_agent(new_case(settings=Settings(local=True)))
    assert local.verdict is CheckStatus.OK, local
    closed = small_disk("size=1m,ro") / "agents" / "ngrok"
    found = _agent(new_case, monkeypatch, closed)
    assert found.verdict is CheckStatus.BROKEN, found
    assert "cannot be written" in found.what
