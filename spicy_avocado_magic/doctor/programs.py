"""The programs: GPU and driver, the engine, the tunnel's agent."""

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
_MEND_DRIVER: Final = (
    "Run nvidia-smi in a terminal and mend what it says; restart the runtime."
)


def check_gpu(case: DoctorContext) -> Finding:
    """Tell cards and driver, and what would put models on the CPU in silence."""
    from ..engine.hardware.memory import list_gpus
    from ..engine.hardware.nvidia import select_gpu_libraries

    gpus = list_gpus()
    cards = [gpu for gpu in gpus if gpu.driver]
    if not cards:
        return _without_cards(case, apple=bool(gpus))
    names = ", ".join(card.name for card in cards)
    what = f"{names}, driver {cards[0].driver}"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return warning(
            "gpu",
            f"{what}; CUDA_VISIBLE_DEVICES hides it from the engine.",
            "Unset CUDA_VISIBLE_DEVICES, then %avocado_up --restart.",
        )
    version = case.settings.ollama_version.removeprefix("latest") or OLLAMA_VERSION
    chosen = select_gpu_libraries(cards, version)
    if chosen.warning:
        return warning("gpu", chosen.warning, _NEW_RUNTIME)
    if not has_cuda(case.platform.library_path):
        return warning(
            "gpu",
            f"{what}; but {_LIBRARY} is not found, so models would run on the CPU.",
            f"Add the folder of {_LIBRARY} to LD_LIBRARY_PATH, then "
            "%avocado_up --restart.",
        )
    return ok("gpu", f"{what}, used by {', '.join(sorted(chosen.folders))}.")


def _without_cards(case: DoctorContext, *, apple: bool) -> Finding:
    if apple:
        return ok("gpu", "Apple's own GPU is used.")
    if shutil.which("nvidia-smi") is not None or _DEVICE.exists():
        what = "An NVIDIA driver is here, but it tells of no card: models run on the "
        return warning("gpu", f"{what}CPU, slowly.", _MEND_DRIVER)
    if case.rehearsal:
        return ok("gpu", "There is none, and a rehearsal needs none.")
    what = "No GPU was found: models run on the CPU, slowly."
    return warning("gpu", what, _NEW_RUNTIME)


def has_cuda(library_path: str) -> bool:
    """Return whether the driver's library can be loaded, or is where it is known."""
    if library_path and (Path(library_path) / _LIBRARY).exists():
        return True
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError:
        return False
    return True


def check_engine(case: DoctorContext) -> Finding:
    """Tell which ``ollama`` is on PATH, and whether it is used."""
    from ..engine.install.release import MIN_VERSION, find_on_path, read_version

    found = shutil.which("ollama")
    wanted = case.settings.ollama_version or OLLAMA_VERSION
    if case.settings.ollama_version:
        return ok("engine", f"Ollama {wanted} is asked for, so PATH is not searched.")
    if found is None:
        return ok(
            "engine",
            f"No ollama on PATH: Ollama {wanted} is used, fetched if it must be.",
        )
    used = find_on_path()
    if used is not None:
        return ok("engine", f"Ollama {used.version} is on PATH and is used.")
    old = read_version(Path(found), origin="PATH")
    remedy = f"Install Ollama {MIN_VERSION} or newer, or take {found} off PATH."
    if old is None:
        what = f"{found} does not tell its version"
    else:
        what = f"Ollama {old.version} on PATH is older than {MIN_VERSION}"
    return warning("engine", f"{what}: it is not used, but Ollama {wanted}.", remedy)


def check_agent(case: DoctorContext) -> Finding:
    """Tell whether the tunnel's agent is here and new enough.

    Raises:
        UserActionRequired: If the program there cannot be used.
    """
    if case.settings.local:
        return ok("agent", "Not needed: --local opens no tunnel.")
    program = case.settings.sources.tunnel_program
    path = case.provider.program_path(program)
    if path is None:
        return ok("agent", f"Not needed: {TUNNEL.name} has no program to install.")
    if not path.exists():
        folder = path.parent
        if not os.access(nearest_existing(folder), os.W_OK):
            return broken(
                "agent",
                f"The {TUNNEL.name} agent is not here, and {folder} cannot be written.",
                "Make it writable, or set PYNGROK_NGROK_PATH to an agent you have.",
            )
        return ok("agent", "Not here yet; the next %avocado_up fetches it.")
    # Sooner than the check's own bound, so that the better message wins.
    policy = replace(case.policy, agent_start_s=case.policy.diagnosis_check_s * 0.75)
    version = asyncio.run(case.provider.install(program, policy))
    return ok("agent", f"The {TUNNEL.name} agent {version} can be used.")
