"""A stand-in for the ``ollama`` program, for machines that have no real one.

It serves Ollama's HTTP API, pulls by the registry protocol, and answers each
prompt by repeating it. ``AVOCADO_REHEARSAL_TOKEN_S`` sets the seconds per word.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...config.validators import OLLAMA_VERSION

if TYPE_CHECKING:
    from aiohttp.typedefs import Middleware

_DEFAULT_HOST: Final = "127.0.0.1"
_DEFAULT_PORT: Final = 11434


def main(arguments: list[str], middlewares: Sequence[Middleware] = ()) -> int:
    """Run ``ollama serve``, ``create`` or ``--version``; return the exit status.

    Args:
        arguments: The command line without the program's name.
        middlewares: As for ``server.create_engine``.
    """
    version = os.environ.get("AVOCADO_REHEARSAL_VERSION", OLLAMA_VERSION)
    if arguments in (["--version"], ["-v"]):
        sys.stdout.write(f"ollama version is {version}\n")
        return 0
    match arguments:
        case ["serve"]:
            return _serve(version, middlewares)
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


def _serve(version: str, middlewares: Sequence[Middleware]) -> int:
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
    asyncio.run(serve(listener, models, version, middlewares))
    return 0


def _address(text: str) -> tuple[str, int]:
    """Parse ``OLLAMA_HOST``; scheme and port are optional."""
    host, _, port = text.rpartition("://")[2].rstrip("/").partition(":")
    return host or _DEFAULT_HOST, int(port or _DEFAULT_PORT)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
