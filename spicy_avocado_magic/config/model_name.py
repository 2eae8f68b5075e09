"""Model names by the engine's rules for case, default tag, namespace and host."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from ..errors import UsageError

DEFAULT_HOST: Final = "registry.ollama.ai"
DEFAULT_NAMESPACE: Final = "library"
DEFAULT_TAG: Final = "latest"

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}")
_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_LOOPBACK = re.compile(r"(localhost|127\.\d+\.\d+\.\d+)(:\d+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName:
    """A model's full name: ``host/namespace/model:tag``.

    The grammar is that of ``types/model/name.go`` in github.com/ollama/ollama.
    """

    host: str = DEFAULT_HOST
    namespace: str = DEFAULT_NAMESPACE
    model: str
    tag: str = DEFAULT_TAG

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a name as users type it; omitted parts get their defaults.

        Raises:
            UsageError: If the engine would not accept it as a name.
        """
        rest, tag = text, DEFAULT_TAG
        if ":" in text.rsplit("/", 1)[-1]:
            rest, tag = text.rsplit(":", 1)
        parts = rest.split("/", 3)  # bounds the list for a name of slashes alone
        host = parts[-3] if len(parts) == 3 else DEFAULT_HOST  # noqa: PLR2004
        namespace = parts[-2] if len(parts) > 1 else DEFAULT_NAMESPACE
        model = parts[-1]
        is_valid = (
            len(parts) <= 3  # noqa: PLR2004
            and _HOST.fullmatch(host)
            and _NAMESPACE.fullmatch(namespace)
            and all(_PART.fullmatch(part) for part in (model, tag))
        )
        if not is_valid:
            raise UsageError(
                f"{text!r} is not a model name.",
                "Use a name such as llama3, qwen3:8b or hf.co/USER/REPO:QUANT.",
            )
        return cls(host=host, namespace=namespace, model=model, tag=tag)

    @property
    def short(self) -> str:
        """The name as the engine lists it: without default host and namespace."""
        prefix = ""
        if self.host.lower() != DEFAULT_HOST:
            prefix = f"{self.host}/{self.namespace}/"
        elif self.namespace.lower() != DEFAULT_NAMESPACE:
            prefix = f"{self.namespace}/"
        return f"{prefix}{self.model}:{self.tag}"

    @property
    def key(self) -> str:
        """The same for every spelling of one model."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}".lower()

    @property
    def registry_url(self) -> str:
        """Base URL at its registry; plain HTTP on loopback, as Docker does."""
        scheme = "http" if _LOOPBACK.fullmatch(self.host) else "https"
        return f"{scheme}://{self.host}/v2/{self.namespace}/{self.model}"

    @property
    def is_insecure(self) -> bool:
        """Whether the registry is on loopback and thus uses plain HTTP."""
        return _LOOPBACK.fullmatch(self.host) is not None


def model_key(name: str) -> str:
    """Return what all spellings of a model share; an invalid name as it is."""
    try:
        return ModelName.parse(name).key
    except UsageError:
        return name


def unique_models(names: Iterable[str]) -> tuple[str, ...]:
    """Return each model once, in the order and the spelling of its first mention.

    Raises:
        UsageError: If one of them is not a model name.
    """
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(ModelName.parse(name).key, name)
    return tuple(first.values())
