"""A model is on the GPU only if both the API and the log say so."""

from __future__ import annotations

import pytest

from spicy_avocado_magic.engine.hardware.gpu_offload import (
    confirmed_gpu_bytes,
    no_gpu_warning,
    offloaded_layers,
    parse_devices,
    partial_offload_warning,
)
from spicy_avocado_magic.engine.hardware.nvidia import Gpu
from spicy_avocado_magic.engine.ollama_api import LoadedModel

T4 = Gpu(name="Tesla T4", total_bytes=1, free_bytes=1)
ON_GPU = LoadedModel(memory_bytes=100, gpu_bytes=100, context=4096)
HALF = LoadedModel(memory_bytes=100, gpu_bytes=40, context=4096)
CPU_LOG = 'level=INFO msg="inference compute" id=cpu library=cpu'


@pytest.mark.parametrize(
    ("log", "layers"),
    [
        ("load_tensors: offloaded 33/33 layers to GPU\n", (33, 33)),
        (
            "offloaded 33/33 layers to GPU\n…\noffloaded 0/25 layers to GPU\n",
            (0, 25),
        ),
        ("load_tensors: CPU_Mapped model buffer size = 308.23 MiB\n", None),
        ("", None),
    ],
)
def test_layers_are_those_of_the_last_load(
    log: str, layers: tuple[int, int] | None
) -> None:
    """The line is llama.cpp's, as the engine itself reads it."""
    assert offloaded_layers(log) == layers


@pytest.mark.parametrize(
    ("engine_has_gpu", "layers", "proved"),
    [
        (True, (33, 33), 100),
        (True, None, 100),
        (True, (0, 33), 0),
        (False, None, 0),
        (False, (33, 33), 0),
    ],
)
def test_the_api_alone_proves_nothing(
    engine_has_gpu: bool, layers: tuple[int, int] | None, proved: int
) -> None:
    """A server without a GPU has reported all of a model as VRAM."""
    found = confirmed_gpu_bytes(ON_GPU, engine_has_gpu=engine_has_gpu, layers=layers)
    assert found == proved


@pytest.mark.parametrize(
    ("gpus", "log", "environ", "text"),
    [
        ((), CPU_LOG, {}, ""),
        ((T4,), CPU_LOG, {"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES hides"),
        ((T4,), CPU_LOG, {"CUDA_VISIBLE_DEVICES": "3"}, "CUDA_VISIBLE_DEVICES hides"),
        ((T4,), CPU_LOG, {"OLLAMA_LLM_LIBRARY": "cpu_avx2"}, "asks for the CPU"),
        (
            (T4,),
            'msg="llama-server GPU discovery watchdog timed out"',
            {},
            "did not answer in time",
        ),
        (
            (T4,),
            'msg="skipping CUDA device — compute capability not in compiled archs"',
            {},
            "do not support this GPU",
        ),
        ((T4,), CPU_LOG, {}, "missing or do not load"),
    ],
)
def test_a_silent_fall_back_to_the_cpu_is_a_warning_with_its_cause(
    gpus: tuple[Gpu, ...], log: str, environ: dict[str, str], text: str
) -> None:
    """On a machine without a GPU there is nothing to warn of."""
    warning = no_gpu_warning(gpus, log, environ, ["something else"])
    assert text in warning
    assert bool(warning) == bool(text)
    if warning:
        assert "Tesla T4" in warning, "the warning does not name the GPU"


def test_a_driver_that_is_too_old_is_one_warning() -> None:
    """The log's own words name the driver and what it should be."""
    log = (
        'level=WARN msg="NVIDIA driver too old" device="Tesla T4" driver=535 '
        f"required_driver=550+\n{CPU_LOG}"
    )
    text = parse_devices(log).warnings
    assert "NVIDIA driver (535) is too old" in text[0]
    assert no_gpu_warning((T4,), log, {}, text) == ""


def test_a_model_partly_on_the_cpu_is_a_warning() -> None:
    """Slow is not silent."""
    assert "60% of big:1b is on the CPU" in partial_offload_warning("big:1b", HALF, 40)
    assert partial_offload_warning("big:1b", ON_GPU, 100) == ""
