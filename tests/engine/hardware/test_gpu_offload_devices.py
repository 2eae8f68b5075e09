"""GPU facts from the engine's log."""

from __future__ import annotations

from spicy_avocado_magic.engine.hardware.gpu_offload import (
    DetectedDevices,
    parse_devices,
)

HEAD = "time=2026-11-23T09:43:56.1Z level=INFO source=types.go:32 "
T4 = (
    HEAD + 'msg="inference compute" id=GPU-1 filter_id="" library=CUDA compute=7.5 '
    'name=CUDA0 description="Tesla T4" libdirs=cuda_v12 driver=12.8 '
    'pci_id=0000:00:04.0 type=discrete total="14.7 GiB" available="14.6 GiB"\n'
)
CPU = (
    HEAD + 'msg="inference compute" id=cpu library=cpu compute="" name=cpu '
    'description=cpu total="12.7 GiB" available="11.0 GiB"\n'
)
OLD_GPU = (
    HEAD + 'msg="inference compute" id=GPU-1 library=cuda variant=v12 compute=6.0 '
    'driver=12.4 name="Tesla P100-PCIE-16GB" total="15.9 GiB" available="15.6 GiB"\n'
)
TOO_OLD = (
    "time=2026-11-23T09:43:56.1Z level=WARN source=cuda_compat.go:70 "
    'msg="NVIDIA driver too old" device="Tesla P100-PCIE-16GB" compute=6.0 driver=560 '
    'required_driver="570 or newer"\n'
)


def test_a_gpu_is_named_with_its_memory() -> None:
    """Lines of current and older servers are understood."""
    assert parse_devices(T4).text == "Tesla T4, 15.8 GB"
    assert parse_devices(OLD_GPU).text == "Tesla P100-PCIE-16GB, 17.1 GB"


def test_equal_gpus_are_counted() -> None:
    """Two of a kind are one entry."""
    assert parse_devices(T4 * 2).text == "2 x Tesla T4, 15.8 GB each"


def test_no_gpu_is_the_cpu_and_an_empty_log_is_nothing_yet() -> None:
    """Only the server's own word makes it the CPU."""
    assert parse_devices(CPU).text == "CPU"
    assert parse_devices("starting\n") == DetectedDevices()


def test_a_driver_too_old_is_a_loud_warning() -> None:
    """The silent fall-back to the CPU is one warning with its cause."""
    compute = parse_devices(TOO_OLD * 2 + CPU)
    assert compute.text == "CPU"
    (warning,) = compute.warnings
    assert "560" in warning
    assert "570 or newer" in warning
    assert "CPU" in warning


def test_escape_sequences_in_a_log_are_stripped() -> None:
    """What the log says is text."""
    assert "\x1b" not in parse_devices(T4.replace("Tesla", "\x1b[31mTesla")).text
