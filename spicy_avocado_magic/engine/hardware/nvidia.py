"""Which NVIDIA cards there are, and what of a release they can use."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ...system.redaction import strip_control_chars

_QUERIES: Final = ("name,driver_version,compute_cap", "name,driver_version")
"""The second for drivers before 510, which do not tell the compute capability."""

_OLDEST_COMPUTE: Final = (5, 0)
_LEGACY_COMPUTE: Final = (7, 0)
_NEWEST_NATIVE: Final = (12, 0)
_THOR: Final = 11
_CUDA_13_DRIVER: Final = 580
_LLAMA_SERVER_SINCE: Final = (0, 30, 0)
_LAST_BEFORE: Final = "0.24.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class NvidiaCard:
    """One card, as ``nvidia-smi`` tells it."""

    name: str
    driver: int
    """Major version, such as 550."""
    compute: tuple[int, int] | None
    """Compute capability; None where the driver is too old to tell it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuLibraries:
    """What to install for the cards, and what their owner should know before."""

    folders: frozenset[str] = frozenset()
    """Under ``lib/ollama``; empty where models run on the CPU."""
    warning: str = ""


def list_nvidia_cards() -> tuple[NvidiaCard, ...]:
    """Ask ``nvidia-smi``; empty where there is none; blocks up to 20 s."""
    for query in _QUERIES:
        told = query_nvidia_smi(query, "csv,noheader")
        if told is None:
            return ()
        if told.returncode == 0:
            cards = [_card(line) for line in told.stdout.splitlines()]
            return tuple(card for card in cards if card is not None)
    return ()


def _card(line: str) -> NvidiaCard | None:
    name, *numbers = (field.strip() for field in line.split(","))
    driver = re.match(r"\d+", numbers[0]) if numbers else None
    if driver is None:
        return None
    compute = re.fullmatch(r"(\d+)\.(\d+)", numbers[-1]) if numbers[1:] else None
    return NvidiaCard(
        name=strip_control_chars(name),
        driver=int(driver[0]),
        compute=None if compute is None else (int(compute[1]), int(compute[2])),
    )


def select_gpu_libraries(cards: Sequence[NvidiaCard], version: str) -> GpuLibraries:
    """Return the folder that a release needs for these cards: one, or none.

    ``cuda_v12`` has native code for compute capability 6.0 to 12.0, ``cuda_v13``
    must be compiled at the first load, which takes a minute, so it is for newer
    cards alone (``llama/server/CMakePresets.json`` in ollama/ollama 0.34.1). The
    oldest drivers are those of ``docs/gpu.mdx`` and ``discover/cuda_compat.go``
    there, and of ``docs/gpu.md`` in 0.11.4.

    Args:
        cards: Those of this machine.
        version: ``X.Y.Z`` of the engine.
    """
    if not cards:
        return GpuLibraries()
    usable = [card for card in cards if card.driver >= oldest_driver(card, version)]
    if not usable:
        means = "Models run on the CPU, slowly."
        return GpuLibraries(warning=_too_old(cards[0], version, means))
    refused = [card for card in cards if card not in usable]
    needs_13 = all(_is_beyond_12(card) for card in usable)
    folder = "cuda_v13" if needs_13 else "cuda_v12"
    return GpuLibraries(
        folders=frozenset({folder}),
        warning=_too_old(refused[0], version, "It is not used.") if refused else "",
    )


def _is_beyond_12(card: NvidiaCard) -> bool:
    if card.compute is None or card.driver < _CUDA_13_DRIVER:
        return False
    return card.compute > _NEWEST_NATIVE or card.compute[0] == _THOR


def oldest_driver(card: NvidiaCard, version: str) -> float:
    """Return the oldest driver with which an engine uses a card; inf for none."""
    if card.compute is not None and card.compute < _OLDEST_COMPUTE:
        return float("inf")
    if _numbers(version) < _LLAMA_SERVER_SINCE:
        return 531
    is_legacy = card.compute is not None and card.compute < _LEGACY_COMPUTE
    return 570 if is_legacy else 550


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _too_old(card: NvidiaCard, version: str, means: str) -> str:
    """Say what a card or driver that is too old means, and what works instead."""
    oldest = oldest_driver(card, version)
    if oldest == float("inf"):
        return (
            f"{card.name} is too old for Ollama {version}, which wants compute "
            f"capability 5.0 or newer. {means}"
        )
    instead = f"A driver {oldest:.0f} or newer mends it"
    if card.driver >= oldest_driver(card, _LAST_BEFORE):
        instead += f"; or --ollama-version {_LAST_BEFORE}, which works with this one"
    return (
        f"The NVIDIA driver ({card.driver}) is too old for Ollama {version} on "
        f"{card.name}: it wants {oldest:.0f} or newer. {means} {instead}."
    )


LONGEST_S: Final = 10.0


def query_nvidia_smi(fields: str, form: str) -> subprocess.CompletedProcess[str] | None:
    """Ask ``nvidia-smi`` for fields of every card, a line each; blocks.

    Args:
        fields: Names joined by commas, of ``nvidia-smi --help-query-gpu``.
        form: As ``--format`` takes it, such as ``csv,noheader``.

    Returns:
        What it said, and its exit status; None where there is no such tool, or one
        that does not end within ``LONGEST_S``.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        return subprocess.run(
            [program, f"--query-gpu={fields}", f"--format={form}"],
            capture_output=True,
            check=False,
            timeout=LONGEST_S,
            stdin=subprocess.DEVNULL,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
