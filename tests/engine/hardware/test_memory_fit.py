"""Fits, spills or cannot run: tables of models, machines and settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spicy_avocado_magic.config.settings import Settings
from spicy_avocado_magic.engine.hardware.gguf import ModelArchitecture
from spicy_avocado_magic.engine.hardware.memory_fit import (
    GIB,
    AvailableMemory,
    ContextDemand,
    Placement,
    cache_bytes,
    default_context,
    demand_of,
    estimate_placement,
)

GB = 10**9

LLAMA_8B = ModelArchitecture(values_per_token=32 * 8 * 256, trained_context=131072)
GEMMA_12B = ModelArchitecture(
    values_per_token=48 * 8 * 512,
    trained_context=131072,
    window=1024,
    whole_share=1 / 6,
)
QWEN_32B = ModelArchitecture(values_per_token=64 * 8 * 256, trained_context=40960)

T4 = AvailableMemory(vram_total=15 * GIB, vram_free=15 * GIB, gpus=1, ram_free=12 * GIB)
TWO_T4 = replace(T4, vram_total=30 * GIB, vram_free=30 * GIB, gpus=2)
A100 = AvailableMemory(
    vram_total=80 * GIB, vram_free=79 * GIB, gpus=1, ram_free=80 * GIB
)
NO_GPU = AvailableMemory(ram_free=12 * GIB)


@pytest.mark.parametrize(
    ("vram", "tokens"),
    [
        (0, 4096),
        (15 * GIB, 4096),
        (23 * GIB - 1, 4096),
        (23 * GIB, 32768),
        (47 * GIB - 1, 32768),
        (47 * GIB, 262144),
    ],
)
def test_the_engines_own_context_goes_by_vram(vram: int, tokens: int) -> None:
    """Two T4s jump to 32 k by themselves, and an A100 to 256 k."""
    assert default_context(vram) == tokens


@pytest.mark.parametrize(
    ("demand", "expected"),
    [
        (ContextDemand(), GIB // 2),
        (ContextDemand(cache_type="q8_0"), GIB // 2 * 34 // 64),
        (ContextDemand(cache_type="q4_0"), GIB // 2 * 18 // 64),
        (ContextDemand(cache_type="f32"), GIB),
        (ContextDemand(cache_type="nonsense"), GIB // 2),
        (ContextDemand(slots=4), 2 * GIB),
    ],
)
def test_a_cache_costs_what_precision_and_slots_make_it(
    demand: ContextDemand, expected: int
) -> None:
    """Llama 3 8B takes 512 MiB for 4096 tokens in f16."""
    assert cache_bytes(LLAMA_8B, 4096, demand) == expected


def test_a_window_bounds_the_cache() -> None:
    """Five of Gemma's six layers keep 1024 tokens, however long the context."""
    whole = cache_bytes(replace(GEMMA_12B, whole_share=1.0), 32768, ContextDemand())
    assert cache_bytes(GEMMA_12B, 32768, ContextDemand()) < whole / 4
    untold = replace(GEMMA_12B, whole_share=None)
    likely = cache_bytes(untold, 32768, ContextDemand())
    least = cache_bytes(untold, 32768, ContextDemand(), is_least=True)
    assert least < cache_bytes(GEMMA_12B, 32768, ContextDemand()) < likely < whole


@pytest.mark.parametrize(
    ("weights", "shape", "memory", "demand", "verdict"),
    [
        (4.7 * GB, LLAMA_8B, T4, ContextDemand(), Placement.FITS),
        (4.7 * GB, LLAMA_8B, NO_GPU, ContextDemand(), Placement.ON_CPU),
        (8.1 * GB, GEMMA_12B, T4, ContextDemand(context=32768), Placement.FITS),
        (15.9 * GB, LLAMA_8B, T4, ContextDemand(), Placement.SPILLS),
        (4.7 * GB, LLAMA_8B, T4, ContextDemand(context=131072), Placement.SPILLS),
        (4.7 * GB, LLAMA_8B, T4, ContextDemand(context=65536), Placement.FITS),
        (
            4.7 * GB,
            LLAMA_8B,
            T4,
            ContextDemand(context=131072, cache_type="q8_0"),
            Placement.FITS,
        ),
        (20.0 * GB, QWEN_32B, T4, ContextDemand(), Placement.SPILLS),
        (20.0 * GB, QWEN_32B, TWO_T4, ContextDemand(), Placement.FITS),
        (20.0 * GB, QWEN_32B, NO_GPU, ContextDemand(), Placement.CANNOT),
        (43.0 * GB, QWEN_32B, T4, ContextDemand(), Placement.CANNOT),
        (43.0 * GB, QWEN_32B, A100, ContextDemand(), Placement.FITS),
        (43.0 * GB, None, A100, ContextDemand(), Placement.FITS),
        (43.0 * GB, None, T4, ContextDemand(), Placement.CANNOT),
        (
            15.0 * GB,
            LLAMA_8B,
            replace(T4, vram_free=2 * GIB),
            ContextDemand(),
            Placement.CANNOT,
        ),
        (
            14.8 * GB,
            LLAMA_8B,
            T4,
            ContextDemand(reserved_bytes=GIB),
            Placement.SPILLS,
        ),
    ],
)
def test_each_model_has_its_verdict(
    weights: float,
    shape: ModelArchitecture | None,
    memory: AvailableMemory,
    demand: ContextDemand,
    verdict: Placement,
) -> None:
    """The same model fits, spills or cannot run by machine and context."""
    assert estimate_placement(int(weights), shape, memory, demand).verdict is verdict


def test_a_context_beyond_the_training_is_not_reckoned_with() -> None:
    """The engine cuts it (``requested context size too large for model``)."""
    fit = estimate_placement(GB, QWEN_32B, A100, ContextDemand())
    assert fit.context == QWEN_32B.trained_context


def test_an_automatic_context_never_makes_a_model_impossible() -> None:
    """The engine reduces its own choice where it does not load."""
    small = replace(A100, vram_free=6 * GIB, ram_free=0)
    assert (
        estimate_placement(int(4.7 * GB), LLAMA_8B, small, ContextDemand()).verdict
        is Placement.SPILLS
    )
    asked = estimate_placement(
        int(4.7 * GB), LLAMA_8B, small, ContextDemand(context=131072)
    )
    assert asked.verdict is Placement.CANNOT
    assert asked.less_context_helps
    assert not estimate_placement(
        int(43 * GB), LLAMA_8B, small, ContextDemand()
    ).less_context_helps


@pytest.mark.parametrize(
    ("weights", "memory", "text"),
    [
        (4.7, T4, "fits on the GPU: about 5.8 GB with 4096 tokens of context, 16.1 GB"),
        (16, T4, "spills to the CPU (slow): about 17.1 GB with 4096 tokens of context"),
        (
            4.7,
            NO_GPU,
            "runs on the CPU (slow): about 5.8 GB with 4096 tokens of context, 12.9 GB",
        ),
        (43, T4, "cannot run: about 43.5 GB with 4096 tokens of context, 29.0 GB"),
    ],
)
def test_a_placement_is_shown_with_its_figures(
    weights: float, memory: AvailableMemory, text: str
) -> None:
    """A user sees what is needed, for which context, and what there is."""
    text = estimate_placement(int(weights * GB), LLAMA_8B, memory, ContextDemand()).text
    assert text.startswith(text), text


@pytest.mark.parametrize(
    ("settings", "demand"),
    [
        (Settings(), ContextDemand(cache_type="")),
        (Settings(context=8192), ContextDemand(context=8192, cache_type="")),
        (
            Settings(
                engine_env=(
                    ("OLLAMA_CONTEXT_LENGTH", "2048"),
                    ("OLLAMA_GPU_OVERHEAD", "1000"),
                    ("OLLAMA_KV_CACHE_TYPE", "Q8_0"),
                    ("OLLAMA_NUM_PARALLEL", "4"),
                )
            ),
            ContextDemand(
                context=2048, slots=4, cache_type="q8_0", reserved_bytes=1000
            ),
        ),
        (
            Settings(
                engine_env=(
                    ("OLLAMA_CONTEXT_LENGTH", "much"),
                    ("OLLAMA_NUM_PARALLEL", "-1"),
                )
            ),
            ContextDemand(cache_type=""),
        ),
        (
            Settings(context=512, engine_env=(("OLLAMA_CONTEXT_LENGTH", "2048"),)),
            ContextDemand(context=512, cache_type=""),
        ),
    ],
)
def test_what_the_settings_demand(settings: Settings, demand: ContextDemand) -> None:
    """``--context`` wins; values that the engine passes over, we pass over."""
    assert demand_of(settings) == demand
