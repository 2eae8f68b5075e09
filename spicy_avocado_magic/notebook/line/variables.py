"""What ``$NAME`` stands for: a notebook variable, the environment, a secret."""

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
    """Return whether a text is ``$NAME`` or ``${NAME}``, whole."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableResolver:
    """Where ``$NAME`` is looked up, in this order."""

    namespace: Mapping[str, Any]
    environ: Mapping[str, str]
    platform_secret: Callable[[str], str | None] = lambda _name: None

    def resolve(self, text: str) -> str:
        """Return what a whole ``$NAME`` stands for; any other text as it is.

        Raises:
            SecretMissing: If it is nowhere, or empty.
            UsageError: For ``{NAME}``, which IPython fills in elsewhere.
        """
        if _BRACES.fullmatch(text):
            raise UsageError(
                f"{text} is not filled in here.", f"Write ${text[1:-1]} instead."
            )
        match = _NAME.fullmatch(text)
        if match is None:
            return text
        name = match[1] or match[2]
        # A variable that is None was declared and not yet filled in.
        is_set = self.namespace.get(name) is not None
        namespace = {name: self.namespace[name]} if is_set else {}
        found = resolve(text, namespace, self.environ, self.platform_secret)
        if not found.strip():
            raise SecretMissing(f"{text} is empty.", f"Give {name} a value first.")
        return found

    def models(self, text: str) -> tuple[str, ...]:
        """Return the models that an argument stands for.

        A variable may hold several: a list, a tuple, or names between spaces or
        commas; so may a word, between commas.

        Raises:
            SecretMissing, UsageError: As ``resolve``, or for ``$NAME`` in a word.
        """
        match = _NAME.fullmatch(text)
        value = self.namespace.get(match[1] or match[2]) if match else None
        if isinstance(value, (list, tuple)):
            return tuple(str(name) for name in value)
        found = self.resolve(text)
        if match:
            return tuple(found.replace(",", " ").split())
        if _INSIDE.search(found):
            raise UsageError(
                f"{found!r} is not a model name: nothing is filled in inside a word.",
                "Put the whole name into a variable: MODEL = …, then $MODEL.",
            )
        return tuple(name for name in found.split(",") if name) or (found,)
