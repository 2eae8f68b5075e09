"""Imports that cost nothing until the module is used.

``anthropic`` and ``openai`` define thousands of classes: importing them takes every
worker longer than all else that it collects, and most workers use neither.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any

_LOCK = threading.RLock()
_EXECUTING: set[str] = set()


class _Lazy(ModuleType):
    """A module that is executed at the first use of an attribute, by one thread."""

    def __getattribute__(self, name: str) -> Any:
        read = ModuleType.__getattribute__
        if name.startswith("__"):
            return read(self, name)
        with _LOCK:  # which lets the executing thread itself pass
            spec = read(self, "__spec__")
            if type(self) is _Lazy and spec.name not in _EXECUTING:
                _EXECUTING.add(spec.name)
                try:
                    spec.loader.exec_module(self)
                    self.__class__ = ModuleType  # type: ignore[assignment]
                finally:
                    _EXECUTING.remove(spec.name)
        return read(self, name)


def import_lazily(*names: str) -> None:
    """Let ``import name`` bind modules that are executed when they are used."""
    for name in names:
        spec = importlib.util.find_spec(name) if name not in sys.modules else None
        if spec is None:
            continue
        module = importlib.util.module_from_spec(spec)
        module.__class__ = _Lazy
        sys.modules[name] = module
