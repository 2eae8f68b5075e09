"""Checks of GPU and driver, of the engine and of the tunnel's agent."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

from ..config.tunnel import TUNNEL
from ..config.validators import OLLAMA_VERSION
from ..protocol.finding import Finding, broken, ok, warning
from ..system.paths import nearest_existing
from .context import DoctorContext

_DEVICE: Final = Path("/dev/nvidia0")
_LIBRARY: Final = "libcuda.so.1"
_NEW_RUNTIME: Final = (
    "Choose a runtime with a GPU (Colab: Runtime → Change runtime type; Kaggle: "
    "Settings → Accelerator), or a small model."
)
_FIX_DRIVER: Final = (
    "Run nvidia-smi in a terminal, correct what it reports, then restart the runtime."
)


def check_gpu(context: DoctorContext) -> Finding:
    """Report GPUs and driver, and all that would silently put models on the CPU."""
    from ..engine.hardware.memory import list_gpus
    from ..engine.hardware.nvidia import select_gpu_libraries

    gpus = list_gpus()
    cards = [gpu for gpu in gpus if gpu.driver]
    if not cards:
        return _without_cards(context, apple=bool(gpus))
    names = ", ".join(card.name for card in cards)
    message = f"{names}, driver {cards[0].driver}"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return warning(
            f"{message}; CUDA_VISIBLE_DEVICES hides it from the engine.",
            "Unset CUDA_VISIBLE_DEVICES, then run %avocado_up --restart.",
        )
    version = context.settings.ollama_version.removeprefix("latest") or OLLAMA_VERSION
    chosen = select_gpu_libraries(cards, version)
    if chosen.warning:
        return warning(chosen.warning, _NEW_RUNTIME)
    if not has_cuda(context.platform.library_path):
        return warning(
            f"{message}; but {_LIBRARY} is not found, so models would run on the CPU.",
            f"Add the folder of {_LIBRARY} to LD_LIBRARY_PATH, then "
            "run %avocado_up --restart.",
        )
    return ok(f"{message}, used by {', '.join(sorted(chosen.folders))}.")


def _without_cards(context: DoctorContext, *, apple: bool) -> Finding:
    if apple:
        return ok("The GPU of this Mac is used.")
    if shutil.which("nvidia-smi") is not None or _DEVICE.exists():
        problem = (
            "An NVIDIA driver is installed, but it reports no GPU: models run slowly, "
            "on the CPU."
        )
        return warning(problem, _FIX_DRIVER)
    if context.rehearsal:
        return ok("There is none, and a rehearsal needs none.")
    return warning("No GPU was found: models run slowly, on the CPU.", _NEW_RUNTIME)


def has_cuda(library_path: str) -> bool:
    """Return whether the driver's library can be loaded or is in the given folder."""
    if library_path and (Path(library_path) / _LIBRARY).exists():
        return True
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return False
    return True


def check_engine(context: DoctorContext) -> Finding:
    """Report which ``ollama`` is on PATH, and whether it is used."""
    from ..engine.install.release import MIN_VERSION, find_on_path, read_version

    found = shutil.which("ollama")
    version = context.settings.ollama_version or OLLAMA_VERSION
    if context.settings.ollama_version:
        return ok(f"Ollama {version} was requested, so PATH is not searched.")
    if found is None:
        return ok(
            f"No ollama on PATH: Ollama {version} is used, and downloaded if needed."
        )
    used = find_on_path()
    if used is not None:
        return ok(f"Ollama {used.version} is on PATH and is used.")
    old = read_version(Path(found), origin="PATH")
    remedy = f"Install Ollama {MIN_VERSION} or newer, or remove {found} from PATH."
    if old is None:
        problem = f"{found} does not report its version"
    else:
        problem = f"Ollama {old.version} on PATH is older than {MIN_VERSION}"
    return warning(f"{problem}: Ollama {version} is used instead.", remedy)


def check_agent(context: DoctorContext) -> Finding:
    """Check that the tunnel's agent works and is new enough, or can be installed.

    Raises:
        UserActionRequired: If the program there cannot be used.
    """
    program = context.settings.sources.tunnel_program
    path = context.provider.program_path(program)
    if path is None:
        return ok(f"Not needed: {TUNNEL.name} has no program to install.")
    if not path.exists():
        folder = path.parent
        if os.access(nearest_existing(folder), os.W_OK):
            return ok("Not installed yet; the next %avocado_up downloads it.")
        return broken(
            f"The {TUNNEL.name} agent is not installed, and {folder} is not writable.",
            f"Make it writable, or set {TUNNEL.program_variable} to your own agent.",
        )
    # Shorter than the check's own time limit, which has a less helpful message.
    limit_s = context.timeouts.diagnosis_check_s * 0.75
    timeouts = replace(context.timeouts, agent_start_s=limit_s)
    version = asyncio.run(context.provider.install(program, timeouts))
    return ok(f"The {TUNNEL.name} agent {version} is installed and works.")
