"""Lookup of ``$NAME`` in the notebook, the environment and the platform's secrets."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ...config.credentials import resolve
from ...errors import SecretMissing, UsageError

_NAME: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_BRACES: Final = re.compile(r"\{\w+\}")
_INSIDE: Final = re.compile(r"\$\w|\{")


def is_variable(text: str) -> bool:
    """Return whether a whole text is ``$NAME`` or ``${NAME}``."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableResolver:
    """The places where ``$NAME`` is looked up, in this order."""

    namespace: Mapping[str, Any]
    environ: Mapping[str, str]
    platform_secret: Callable[[str], str | None] = lambda _name: None

    def resolve(self, text: str) -> str:
        """Return the value of ``$NAME``, or any other text unchanged.

        Raises:
            SecretMissing: If it is not defined anywhere, or empty.
            UsageError: For ``{NAME}``, which IPython expands in other magics.
        """
        if _BRACES.fullmatch(text):
            raise UsageError(
                f"{text} is not replaced by a value here.",
                f"Write ${text[1:-1]} instead.",
            )
        match = _NAME.fullmatch(text)
        if match is None:
            return text
        name = match[1] or match[2]
        # A variable that is None was declared and not yet assigned.
        is_set = self.namespace.get(name) is not None
        namespace = {name: self.namespace[name]} if is_set else {}
        value = resolve(text, namespace, self.environ, self.platform_secret)
        if not value.strip():
            raise SecretMissing(f"{text} is empty.", f"Give {name} a value first.")
        return value

    def models(self, text: str) -> tuple[str, ...]:
        """Return the models that an argument names.

        A variable may hold several: a list, a tuple, or names separated by spaces or
        commas. A word may name several, separated by commas.

        Raises:
            SecretMissing, UsageError: As ``resolve``, or for ``$NAME`` inside a word.
        """
        match = _NAME.fullmatch(text)
        value = self.namespace.get(match[1] or match[2]) if match else None
        if isinstance(value, (list, tuple)):
            return tuple(str(name) for name in value)
        names = self.resolve(text)
        if match:
            return tuple(names.replace(",", " ").split())
        if _INSIDE.search(names):
            raise UsageError(
                f"{names!r} is not a model name: a variable inside a word is not "
                "replaced by its value.",
                "Put the whole name into a variable: MODEL = …, then $MODEL.",
            )
        return tuple(name for name in names.split(",") if name) or (names,)
