"""Which models are served, by the engine's rules of naming."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..errors import UsageMistake
from ..model_name import DEFAULT_TAG, ModelName
from ..secrets import plain_text
from .refusal import Refusal

_LONGEST_ECHO: Final = 100


class ServedModels:
    """The models that callers may use; any other one does not exist for them."""

    def __init__(self, names: Iterable[str]) -> None:
        models = [ModelName.parse(name) for name in names]
        self._models = [model for model in models if not is_cloud(model)]
        self._keys = {model.key for model in self._models}
        self.ids = frozenset(
            spelling
            for model in self._models
            for spelling in (model.short, model.short.removesuffix(f":{DEFAULT_TAG}"))
            if "/" not in spelling
        )
        """The spellings under which ``/v1/models/{id}`` exists."""

    def has(self, name: str) -> bool:
        """Tell whether the engine would take this name for a model that is served."""
        if name in self.ids:
            return True
        try:
            return ModelName.parse(name).key in self._keys
        except UsageMistake:
            return False

    def require(self, name: str) -> None:
        """Refuse a model that is not served, naming those that are.

        Raises:
            Refusal: 404, as for a model that is not installed.
        """
        if self.has(name):
            return
        served = ", ".join(model.short for model in self._models) or "none yet"
        raise Refusal(
            404,
            f"model '{plain_text(name[:_LONGEST_ECHO])}' not found; "
            f"this server has: {served}",
            code="model_not_found",
        )

    def only_served(self, entries: Any) -> list[Any]:
        """Return the entries of a listing that tell of models which are served."""
        return [entry for entry in entries or () if self.has(_name_of(entry))]


def is_cloud(model: ModelName) -> bool:
    """Tell whether the engine would pass calls of this model on to ollama.com.

    The rule is ``parseSourceSuffix`` of ``internal/modelref`` in
    github.com/ollama/ollama v0.34.1.
    """
    tag = model.tag.lower()
    return tag == "cloud" or tag.endswith("-cloud")


def _name_of(entry: Any) -> str:
    if not isinstance(entry, dict):
        return ""
    return str(entry.get("model") or entry.get("name") or entry.get("id") or "")
