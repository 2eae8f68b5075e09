"""Estimate, before the download, whether a model fits into memory."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from ...config.settings import Settings
from ...config.validators import parse_whole_number
from ...formatting import format_bytes
from .gguf import ModelArchitecture

GIB: Final = 1 << 30
_MIB: Final = 1 << 20

_OVERHEAD_BYTES: Final = 512 * _MIB
"""Runtime and compute buffers on each device: 0.11.4 kept 457 MiB free for them
(``cudaMinimumMemory``, discover/gpu.go in ollama/ollama), and the logs quoted in
v0.34.1's llm/llama_server_test.go have 256 to 440 MiB of compute buffers."""

_CONTEXT_BY_VRAM: Final = ((47 * GIB, 262144), (23 * GIB, 32768), (0, 4096))
"""Least VRAM and the default context for it (server/routes.go, v0.34.1)."""

_SMALLEST_CONTEXT: Final = 4096
"""A default context that does not fit is reduced to this (server/sched.go)."""

_BYTES_PER_VALUE: Final = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q4_0": 18 / 32,
}
"""Of ``OLLAMA_KV_CACHE_TYPE``; blocks of 32 carry a two-byte scale (ggml-common.h)."""

_UNKNOWN_SHARE: Final = 0.5
"""Share of layers without a window where it is unknown: no family has more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailableMemory:
    """Memory of this machine for models, in bytes."""

    vram_total: int = 0
    vram_free: int = 0
    """Over all GPUs."""
    gpus: int = 0
    ram_free: int = 0
    """Swap included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextDemand:
    """The settings that cost memory."""

    context: int = 0
    """Tokens for each request; 0 for the engine's default."""
    slots: int = 1
    """Requests at a time, each with a context of its own."""
    cache_type: str = "f16"
    reserved_bytes: int = 0
    """Kept free on each GPU."""


class Placement(Enum):
    """Where a model will run, as text for people."""

    FITS = "fits on the GPU"
    SPILLS = "spills to the CPU (slow)"
    ON_CPU = "runs on the CPU (slow)"
    """On a machine without a GPU."""
    CANNOT = "cannot run"


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """The expected placement of a model, with its figures."""

    verdict: Placement
    needed_bytes: int
    """With its context; for ``CANNOT`` the least possible."""
    free_bytes: int
    """VRAM; all memory without a GPU, and for ``CANNOT``."""
    context: int
    """Tokens of the estimate."""
    less_context_helps: bool = False
    """Whether a model that cannot run could with a shorter context or fewer slots."""

    @property
    def text(self) -> str:
        """The placement with its figures."""
        is_by_vram = self.verdict in (Placement.FITS, Placement.SPILLS)
        where = "GPU memory" if is_by_vram else "memory"
        return (
            f"{self.verdict.value}: about {format_bytes(self.needed_bytes)} with "
            f"{self.context} tokens of context, {format_bytes(self.free_bytes)} of "
            f"{where} free"
        )


def demand_of(settings: Settings) -> ContextDemand:
    """Return the demand of the settings; the engine ignores invalid values."""
    variables = settings.engine_variables()
    return ContextDemand(
        context=_number(variables.get("OLLAMA_CONTEXT_LENGTH")),
        slots=max(1, _number(variables.get("OLLAMA_NUM_PARALLEL"))),
        cache_type=variables.get("OLLAMA_KV_CACHE_TYPE", "").lower(),
        reserved_bytes=_number(variables.get("OLLAMA_GPU_OVERHEAD")),
    )


def _number(text: str | None) -> int:
    return parse_whole_number(text or "") or 0


def default_context(vram_bytes: int) -> int:
    """Return the engine's default context in tokens."""
    return next(tokens for least, tokens in _CONTEXT_BY_VRAM if vram_bytes >= least)


def cache_bytes(
    shape: ModelArchitecture,
    context: int,
    demand: ContextDemand,
    *,
    is_least: bool = False,
) -> int:
    """Return the size of the key-value cache.

    Args:
        shape: The model's architecture, with its sliding window.
        context: Tokens for each request.
        demand: Number of slots, and precision.
        is_least: Whether to assume a window in every layer, rather than in half of
            them, where it is unknown which have one.
    """
    share = shape.whole_share
    if share is None:
        share = 0.0 if is_least else _UNKNOWN_SHARE
    kept = context * share + min(context, shape.window) * (1 - share)
    per_value = _BYTES_PER_VALUE.get(demand.cache_type, _BYTES_PER_VALUE["f16"])
    return int(shape.values_per_token * kept * demand.slots * per_value)


def estimate_placement(
    weights_bytes: int,
    shape: ModelArchitecture | None,
    memory: AvailableMemory,
    demand: ContextDemand,
) -> MemoryEstimate:
    """Return the expected placement of a model.

    It is by the likely demand, but ``CANNOT`` only where even the least possible demand
    exceeds all memory.

    Args:
        weights_bytes: Of the model and its projector.
        shape: None if unknown; the context then counts as nothing.
        memory: Free now, including what our own engine holds.
        demand: By the settings.
    """
    context = demand.context or default_context(memory.vram_total)
    least_context = demand.context or _SMALLEST_CONTEXT
    likely = least = weights_bytes
    if shape is not None:
        longest = shape.trained_context or context
        context, least_context = min(context, longest), min(least_context, longest)
        likely += cache_bytes(shape, context, demand)
        least += cache_bytes(shape, least_context, demand, is_least=True)
    overhead = max(1, memory.gpus) * _OVERHEAD_BYTES
    needed = likely + overhead + memory.gpus * demand.reserved_bytes
    all_free = memory.vram_free + memory.ram_free
    cannot = least > all_free
    if cannot:
        verdict = Placement.CANNOT
    elif not memory.gpus:
        verdict = Placement.ON_CPU
    else:
        verdict = Placement.FITS if needed <= memory.vram_free else Placement.SPILLS
    return MemoryEstimate(
        verdict=verdict,
        needed_bytes=least if cannot else needed,
        free_bytes=all_free if cannot or not memory.gpus else memory.vram_free,
        context=least_context if cannot else context,
        less_context_helps=cannot and weights_bytes <= all_free,
    )
