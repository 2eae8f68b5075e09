"""Which models are served, by the engine's rules of naming."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..config.model_name import DEFAULT_TAG, ModelName
from ..errors import UsageError
from ..system.redaction import strip_control_chars
from .error_responses import ErrorResponse, engine_loading

MAX_ECHO_CHARS: Final = 100
"""Characters of a caller's own text that an error repeats."""


class ModelAllowlist:
    """The models that callers may use; any other one does not exist for them."""

    def __init__(
        self,
        names: Iterable[str],
        *,
        awaited: Iterable[str] = (),
        any_model: bool = False,
        only: Iterable[str] | None = None,
    ) -> None:
        """Take the names.

        Args:
            names: The models that were brought up.
            awaited: Those that will be, if they are not yet.
            any_model: Whether all that are installed are served as well.
            only: Where it is given, no other model is served than these.
        """
        self._any_model = any_model
        self._only = None if only is None else {ModelName.parse(n).key for n in only}
        self._awaited = {ModelName.parse(n).key: n for n in awaited}
        models = [ModelName.parse(name) for name in names]
        self._models = [model for model in models if not is_cloud(model)]
        self._served = {model.key for model in self._models}
        self._shown = [m.short for m in self._models if self._may(m)]
        self._known = {
            spelled: short for short in self._shown for spelled in _plain(short)
        }

    def restricted(self, only: tuple[str, ...]) -> ModelAllowlist:
        """Return these models without those that are not among ``only``.

        Args:
            only: Names; none are no restriction.
        """
        names = [model.short for model in self._models]
        return ModelAllowlist(
            names,
            awaited=self._awaited.values(),
            any_model=self._any_model,
            only=only or None,
        )

    def has(self, name: str) -> bool:
        """Tell whether the engine would take this name for a model that is served."""
        try:
            return self._may(ModelName.parse(name))
        except UsageError:
            return False

    def has_id(self, text: str) -> bool:
        """Tell whether ``/v1/models/{id}`` exists for this very spelling."""
        if "/" in text or not self.has(text):
            return False
        model = ModelName.parse(text)
        # Nothing but these two forms: what else the engine takes may be a trick.
        return text in _plain(model.short)

    def _may(self, model: ModelName) -> bool:
        if self._only is not None and model.key not in self._only:
            return False
        return model.key in self._served or (self._any_model and not is_cloud(model))

    def require(self, name: str) -> str:
        """Return the short form of a model that is served; refuse any other.

        Raises:
            Refusal: 404, as for a model that is not installed; names those that are.
                503 for one that is on its way.
        """
        known = self._known.get(name)
        if known is not None:
            return known
        if not self.has(name):
            raise engine_loading() if self.is_pending(name) else self._not_found(name)
        return ModelName.parse(name).short

    def is_pending(self, name: str) -> bool:
        """Tell whether a model is one of those that are, or will be, here."""
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
        """Refuse to install, copy or delete what a restricted caller may not use.

        Raises:
            Refusal: 404, as for a model that does not exist.
        """
        if self._only is not None and model.key not in self._only:
            raise self._not_found(model.short)

    def filter_listing(self, entries: Any) -> list[Any]:
        """Return the entries of a listing that tell of models which are served."""
        return [entry for entry in entries or () if self.has(_name_of(entry))]


def _plain(short: str) -> tuple[str, str]:
    """Return the two ways in which nearly everybody spells a model."""
    return short, short.removesuffix(f":{DEFAULT_TAG}")


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
