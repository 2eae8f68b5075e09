"""Whether a model is on the GPU: by ``/api/ps`` *and* the engine's log.

Each alone has been wrong: a server without a GPU, whose runner's log lines it
could not read, reported all of a model as VRAM; and an engine that found no GPU
runs on the CPU without a word to its clients.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from .machine_memory import Gpu, visible
from .models import Loaded

_OFFLOADED: Final = re.compile(r"offloaded\s+(\d+)/(\d+)\s+layers to GPU")
"""What llama.cpp logs at each load (``offloadedLayersRegex`` in
llm/llama_server.go, ollama/ollama v0.34.1)."""


def offloaded_layers(log_text: str) -> tuple[int, int] | None:
    """Return the layers on the GPU, and of how many, at the last load in a log."""
    found = _OFFLOADED.findall(log_text)
    return (int(found[-1][0]), int(found[-1][1])) if found else None


def proved_gpu_bytes(
    loaded: Loaded, *, engine_has_gpu: bool, layers: tuple[int, int] | None
) -> int:
    """Return how much of a model is on the GPU for all that is known.

    Args:
        loaded: By ``/api/ps``.
        engine_has_gpu: Whether the engine's log tells of a GPU that it computes on.
        layers: By ``offloaded_layers`` of what the engine logged at the load; None
            where the log does not tell.
    """
    has_none = layers is not None and layers[0] == 0
    return 0 if has_none or not engine_has_gpu else loaded.gpu_bytes


def no_gpu_warning(
    gpus: tuple[Gpu, ...],
    engine_log: str,
    environ: Mapping[str, str],
    told: Iterable[str],
) -> str:
    """Return the warning for an engine that found none of the machine's GPUs.

    Args:
        gpus: By ``nvidia-smi``; empty on a machine without, which is no fault.
        engine_log: From the engine's start.
        environ: What the engine was started with.
        told: Warnings that are shown already.

    Returns:
        What it means and why; empty where a driver or GPU that is too old is told.
    """
    if not gpus or any("too old for" in warning for warning in told):
        return ""
    return (
        f"This machine has a GPU ({gpus[0].name}), but Ollama found none: models run "
        f"on the CPU, slowly. {_cause(gpus, engine_log, environ)}"
    )


def _cause(gpus: tuple[Gpu, ...], engine_log: str, environ: Mapping[str, str]) -> str:
    if not visible(gpus, environ):
        return "CUDA_VISIBLE_DEVICES hides it: remove that variable."
    if environ.get("OLLAMA_LLM_LIBRARY", "").startswith("cpu"):
        return "OLLAMA_LLM_LIBRARY asks for the CPU: remove that variable."
    if "watchdog timed out" in engine_log:
        return (
            "It gave up looking before the driver answered: run %avocado_up --restart."
        )
    if "compute capability not in compiled" in engine_log:
        return (
            "Its CUDA libraries do not support this GPU: try another --ollama-version."
        )
    return (
        "Its CUDA libraries are missing or do not load: run %avocado_up --restart "
        "--ollama-version latest for an engine that has them."
    )


def spill_warning(name: str, loaded: Loaded, gpu_bytes: int) -> str:
    """Return the warning for a model that is not wholly on a GPU that there is."""
    if gpu_bytes >= loaded.memory_bytes:
        return ""
    share = 1 - gpu_bytes / loaded.memory_bytes
    return (
        f"{share:.0%} of {name} is on the CPU, which is slow: GPU memory is too small "
        "for it. Choose a smaller model or quantisation, or a smaller --context."
    )
