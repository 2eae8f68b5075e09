"""Proof that a model is on the GPU, by ``/api/ps`` *and* the engine's log.

Each alone has been wrong: a server without a GPU that could not parse its runner's
log reported all of a model as VRAM, and an engine that finds no GPU runs on the CPU
without any sign to its clients.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ...formatting import with_decimal_sizes
from ...system.redaction import strip_control_chars
from ..ollama_api import LoadedModel
from .memory import visible_gpus
from .nvidia import Gpu

_OFFLOADED: Final = re.compile(r"offloaded\s+(\d+)/(\d+)\s+layers to GPU")
"""Line that llama.cpp logs at each load (``offloadedLayersRegex`` in
llm/llama_server.go, ollama/ollama v0.34.1)."""


def offloaded_layers(log_text: str) -> tuple[int, int] | None:
    """Return the layers on the GPU and in total, at the last load in a log."""
    found = _OFFLOADED.findall(log_text)
    return (int(found[-1][0]), int(found[-1][1])) if found else None


def confirmed_gpu_bytes(
    loaded: LoadedModel, *, engine_has_gpu: bool, layers: tuple[int, int] | None
) -> int:
    """Return how many bytes of a model are on the GPU, by all sources.

    Args:
        loaded: By ``/api/ps``.
        engine_has_gpu: Whether the engine's log names a GPU that it uses.
        layers: ``offloaded_layers`` of the log of the load; None if unknown.
    """
    has_none = layers is not None and layers[0] == 0
    return 0 if has_none or not engine_has_gpu else loaded.gpu_bytes


def no_gpu_warning(
    gpus: tuple[Gpu, ...],
    engine_log: str,
    environ: Mapping[str, str],
    shown: Iterable[str],
) -> str:
    """Return the warning for an engine that found none of the machine's GPUs.

    Args:
        gpus: By ``nvidia-smi``; empty on a machine without a GPU, which is no fault.
        engine_log: From the engine's start.
        environ: The engine's environment.
        shown: Warnings that are already shown.

    Returns:
        The effect and the cause; empty if a warning that a driver or GPU is too old is
        shown.
    """
    if not gpus or any("too old for" in warning for warning in shown):
        return ""
    return (
        f"This machine has a GPU ({gpus[0].name}), but Ollama found none: models run "
        f"on the CPU, slowly. {_cause(gpus, engine_log, environ)}"
    )


def _cause(gpus: tuple[Gpu, ...], engine_log: str, environ: Mapping[str, str]) -> str:
    if not visible_gpus(gpus, environ):
        return "CUDA_VISIBLE_DEVICES hides it: remove that variable."
    if environ.get("OLLAMA_LLM_LIBRARY", "").startswith("cpu"):
        return "OLLAMA_LLM_LIBRARY asks for the CPU: remove that variable."
    if "watchdog timed out" in engine_log:
        return "The driver did not answer in time: run %avocado_up --restart."
    if "compute capability not in compiled" in engine_log:
        return (
            "Its CUDA libraries do not support this GPU: try another --ollama-version."
        )
    return (
        "Its CUDA libraries are missing or do not load: run %avocado_up --restart "
        "--ollama-version latest for an engine that has them."
    )


def partial_offload_warning(name: str, loaded: LoadedModel, gpu_bytes: int) -> str:
    """Return the warning for a model that is only partly on the GPU; else empty."""
    if gpu_bytes >= loaded.memory_bytes:
        return ""
    share = 1 - gpu_bytes / loaded.memory_bytes
    return (
        f"{share:.0%} of {name} is on the CPU, which is slow: GPU memory is too small "
        "for it. Choose a smaller model or quantisation, or a smaller --context."
    )


_GAVE_UP: Final = "The search for a GPU timed out; models may run on the CPU."
_PAIR: Final = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedDevices:
    """The devices that the engine uses, as text for people."""

    text: str = ""
    """Such as ``2 x Tesla T4, 15.8 GB each`` or ``CPU``; empty if unknown."""
    warnings: tuple[str, ...] = ()


def parse_devices(log_text: str) -> DetectedDevices:
    """Parse the devices and warnings in an engine's log.

    The lines are those of ``LogDetails`` (discover/types.go) and
    ``filterOldCUDADriver`` (discover/cuda_compat.go) in ollama/ollama 0.34.1.
    """
    devices: Counter[tuple[str, str]] = Counter()
    has_found_cpu = False
    warnings: dict[str, None] = {}
    for line in log_text.splitlines():
        fields = {key: value.strip('"') for key, value in _PAIR.findall(line)}
        message = fields.get("msg", "")
        if message == "inference compute":
            if fields.get("library") == "cpu":
                has_found_cpu = True
                continue
            name = fields.get("description") or fields.get("name", "GPU")
            devices[strip_control_chars(name), fields.get("total", "")] += 1
        elif message == "NVIDIA driver too old":
            warnings[_driver_warning(fields)] = None
        elif "watchdog timed out" in message:
            warnings[_GAVE_UP] = None
    text = ", ".join(_device(*device, count) for device, count in devices.items())
    return DetectedDevices(
        text=text or ("CPU" if has_found_cpu else ""), warnings=tuple(warnings)
    )


def _device(name: str, total: str, count: int) -> str:
    if count == 1:
        return f"{name}, {with_decimal_sizes(total)}"
    return f"{count} x {name}, {with_decimal_sizes(total)} each"


def _driver_warning(fields: dict[str, str]) -> str:
    device = strip_control_chars(fields.get("device", "GPU"))
    return (
        f"The NVIDIA driver ({fields.get('driver', '?')}) is too old for this Ollama "
        f"on {device}: it needs {fields.get('required_driver', 'a newer one')}. "
        f"Models run on the CPU, slowly."
    )
