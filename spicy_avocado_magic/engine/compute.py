"""What the engine computes on, read from its log."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Final

from ..system.redaction import plain_text

_GAVE_UP: Final = "The engine gave up looking for a GPU; models may run on the CPU."
_PAIR: Final = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """What the engine found, in words for people."""

    text: str = ""
    """Such as ``2 x Tesla T4, 14.7 GiB each`` or ``CPU``; empty if not yet known."""
    warnings: tuple[str, ...] = ()


def parse_compute(log_text: str) -> Compute:
    """Read the devices and warnings from an engine's log.

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
            devices[plain_text(name), fields.get("total", "")] += 1
        elif message == "NVIDIA driver too old":
            warnings[_driver_warning(fields)] = None
        elif "watchdog timed out" in message:
            warnings[_GAVE_UP] = None
    text = ", ".join(_device(*device, count) for device, count in devices.items())
    return Compute(
        text=text or ("CPU" if has_found_cpu else ""), warnings=tuple(warnings)
    )


def _device(name: str, total: str, count: int) -> str:
    if count == 1:
        return f"{name}, {total}"
    return f"{count} x {name}, {total} each"


def _driver_warning(fields: dict[str, str]) -> str:
    device = plain_text(fields.get("device", "GPU"))
    return (
        f"The NVIDIA driver ({fields.get('driver', '?')}) is too old for this Ollama "
        f"on {device}: it wants {fields.get('required_driver', 'a newer one')}. "
        f"Models run on the CPU, slowly."
    )
