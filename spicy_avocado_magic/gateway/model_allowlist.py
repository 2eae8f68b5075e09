"""Allowlist of models, compared by the engine's naming rules."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from ..config.model_name import DEFAULT_TAG, ModelName
from ..errors import UsageError
from ..system.redaction import strip_control_chars
from .error_responses import ErrorResponse, engine_loading

MAX_ECHO_CHARS: Final = 100
"""Characters of a client's own text that an error repeats."""


class ModelAllowlist:
    """Models that a caller may use; all others do not exist for it.

    Attributes:
        registries: Hosts from which models may be pulled, besides the usual ones.
    """

    def __init__(
        self,
        names: Iterable[str],
        *,
        awaited: Iterable[str] = (),
        any_model: bool = False,
        only: Iterable[str] | None = None,
        registries: Collection[str] = (),
    ) -> None:
        """Parse the names.

        Args:
            names: Models that are ready.
            awaited: Models that were requested, ready or not.
            any_model: Whether all other installed models are served as well.
            only: If given, the models to which the key is restricted.
            registries: Hosts from which models may be pulled, besides the usual ones.
        """
        self.registries = registries
        self._any_model = any_model
        self._only = None if only is None else {ModelName.parse(n).key for n in only}
        self._awaited = {ModelName.parse(n).key: n for n in awaited}
        models = [ModelName.parse(name) for name in names]
        self._models = [model for model in models if not is_cloud(model)]
        self._served = {model.key for model in self._models}
        self._shown = [m.short for m in self._models if self._is_allowed(m)]
        self._known = {
            spelling: short for short in self._shown for spelling in _spellings(short)
        }

    def restricted(self, only: tuple[str, ...]) -> ModelAllowlist:
        """Return the allowlist of a key that is restricted to some models.

        Args:
            only: Their names; none are no restriction.
        """
        names = [model.short for model in self._models]
        return ModelAllowlist(
            names,
            awaited=self._awaited.values(),
            any_model=self._any_model,
            only=only or None,
            registries=self.registries,
        )

    def has(self, name: str) -> bool:
        """Return whether the engine would resolve this name to a served model."""
        try:
            return self._is_allowed(ModelName.parse(name))
        except UsageError:
            return False

    def has_id(self, text: str) -> bool:
        """Return whether ``/v1/models/{id}`` exists for exactly this spelling."""
        if "/" in text or not self.has(text):
            return False
        model = ModelName.parse(text)
        # Only these two: other spellings that the engine takes may be an attack.
        return text in _spellings(model.short)

    def _is_allowed(self, model: ModelName) -> bool:
        if self._only is not None and model.key not in self._only:
            return False
        return model.key in self._served or (self._any_model and not is_cloud(model))

    def require(self, name: str) -> str:
        """Return the short name of a served model.

        Raises:
            ErrorResponse: 404 for any other, with the names of those that are served;
                503 for one that is being prepared.
        """
        known = self._known.get(name)
        if known is not None:
            return known
        if not self.has(name):
            raise engine_loading() if self.is_pending(name) else self._not_found(name)
        return ModelName.parse(name).short

    def is_pending(self, name: str) -> bool:
        """Return whether a model was requested, ready or not."""
        try:
            key = ModelName.parse(name).key
        except UsageError:
            return False
        return key in self._awaited and (self._only is None or key in self._only)

    def _not_found(self, name: str) -> ErrorResponse:
        served = ", ".join(self._shown) or "none yet"
        return ErrorResponse(
            404,
            f"model '{strip_control_chars(name[:MAX_ECHO_CHARS])}' not found; "
            f"this server has: {served}",
            code="model_not_found",
        )

    def require_changeable(self, model: ModelName) -> None:
        """Require that this key may install, copy or delete a model.

        Raises:
            ErrorResponse: 404, as for a model that does not exist.
        """
        if self._only is not None and model.key not in self._only:
            raise self._not_found(model.short)

    def filter_listing(self, entries: Any) -> list[Any]:
        """Return the entries of a listing that name a served model."""
        return [entry for entry in entries or () if self.has(_name_of(entry))]


def _spellings(short: str) -> tuple[str, str]:
    """Return the two usual spellings of a model."""
    return short, short.removesuffix(f":{DEFAULT_TAG}")


def is_cloud(model: ModelName) -> bool:
    """Return whether the engine would forward calls of this model to ollama.com.

    The rule is ``parseSourceSuffix`` of ``internal/modelref`` in
    github.com/ollama/ollama v0.34.1.
    """
    tag = model.tag.lower()
    return tag == "cloud" or tag.endswith("-cloud")


def _name_of(entry: Any) -> str:
    if not isinstance(entry, dict):
        return ""
    return str(entry.get("model") or entry.get("name") or entry.get("id") or "")
