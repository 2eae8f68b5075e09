"""The engine's environment: a filtered copy of ours, and what we decide."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ..config.settings import Settings

_FOREIGN: Final = ("OLLAMA_", "NGROK_", "AVOCADO_")
_LIBRARY_PATH: Final = "LD_LIBRARY_PATH"


def engine_variables(
    settings: Settings,
    *,
    port: int,
    models_dir: Path,
    library_path: Sequence[str],
    environ: Mapping[str, str],
) -> dict[str, str]:
    """Return what ``ollama serve`` is started with.

    Proxy variables pass through, since the engine pulls by itself at times. What
    the user set for an Ollama elsewhere does not, nor does anything of the tunnel.
    """
    kept = {k: v for k, v in environ.items() if not k.startswith(_FOREIGN)}
    if library_path:
        folders = [*kept.get(_LIBRARY_PATH, "").split(os.pathsep), *library_path]
        kept[_LIBRARY_PATH] = os.pathsep.join(dict.fromkeys(filter(None, folders)))
    wanted = {"OLLAMA_KEEP_ALIVE": "-1", **dict(settings.engine_env)}
    if settings.keep_alive:
        wanted["OLLAMA_KEEP_ALIVE"] = settings.keep_alive
    if settings.context:
        wanted["OLLAMA_CONTEXT_LENGTH"] = str(settings.context)
    ours = {
        "OLLAMA_HOST": f"127.0.0.1:{port}",
        "OLLAMA_MODELS": str(models_dir),
        "OLLAMA_NO_CLOUD": "1",
        "OLLAMA_NOPRUNE": "1",
    }
    return kept | wanted | ours
