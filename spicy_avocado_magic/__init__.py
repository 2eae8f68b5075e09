"""One notebook cell to a public, authenticated URL for your own Ollama model."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .client.api import down, logs, status, up
    from .client.doctor import doctor
    from .client.handle import Avocado
    from .errors import AvocadoError

__version__ = "0.1.0"
__all__ = ["Avocado", "AvocadoError", "doctor", "down", "logs", "status", "up"]

_MODULES: Final = {
    "Avocado": ".client.handle",
    "AvocadoError": ".errors",
    "doctor": ".client.doctor",
    "down": ".client.api",
    "logs": ".client.api",
    "status": ".client.api",
    "up": ".client.api",
}


def load_ipython_extension(ip: Any) -> None:
    """Register the magics, and find a running service; nothing is started.

    Raises:
        PlatformUnsupported: On Windows.
    """
    from .notebook.extension import load

    load(ip)


def unload_ipython_extension(ip: Any) -> None:
    """Remove the magics and ``avocado`` from this session; the service stays up."""
    from .notebook.extension import unload

    unload(ip)


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that loading stays fast."""
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name], __name__), name)
    message = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(message)
