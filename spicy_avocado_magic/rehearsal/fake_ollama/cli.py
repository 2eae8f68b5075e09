"""A stand-in for the ``ollama`` program, for machines that have no real one.

It speaks Ollama's HTTP API, pulls by the registry protocol, and answers each
prompt by repeating it. ``AVOCADO_REHEARSAL_TOKEN_S`` sets the seconds per word;
``switches`` tells what can be made to go wrong.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Final

from ...config.validators import OLLAMA_VERSION
from ..fault_injection import active_faults

_DEFAULT_HOST: Final = "127.0.0.1"
_DEFAULT_PORT: Final = 11434


def main(arguments: list[str]) -> int:
    """Run ``ollama serve``, ``create`` or ``--version``; return the exit status."""
    version = os.environ.get("AVOCADO_REHEARSAL_VERSION", OLLAMA_VERSION)
    if arguments in (["--version"], ["-v"]):
        sys.stdout.write(f"ollama version is {version}\n")
        return 0
    match arguments:
        case ["serve"]:
            return _serve(version)
        case ["create", name, "-f", modelfile]:
            from .create import create

            address = _address(os.environ.get("OLLAMA_HOST", ""))
            return create(name, Path(modelfile), address)
        case _:
            pass
    sys.stderr.write(
        "Error: this rehearsal engine knows serve, create NAME -f FILE and --version\n"
    )
    return 1


def _serve(version: str) -> int:
    if why := active_faults().get("start"):
        sys.stderr.write(f"{why}\n")
        return 1
    host, port = _address(os.environ.get("OLLAMA_HOST", ""))
    try:
        listener = socket.create_server((host, port), backlog=128)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (")[0].lower()
        sys.stderr.write(f"Error: listen tcp {host}:{port}: bind: {reason}\n")
        return 1
    from .server import serve

    default_models = Path.home() / ".ollama" / "models"
    models = Path(os.environ.get("OLLAMA_MODELS") or default_models)
    asyncio.run(serve(listener, models, version))
    return 0


def _address(text: str) -> tuple[str, int]:
    """Read ``OLLAMA_HOST``: a scheme and a port may be left out."""
    host, _, port = text.rpartition("://")[2].rstrip("/").partition(":")
    return host or _DEFAULT_HOST, int(port or _DEFAULT_PORT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
