"""Defaults set by ``%config AvocadoMagics.NAME = …``: one trait for each option.

Secrets are refused: ``%config`` prints its values, configuration files are no place
for secrets, and a notebook keeps the cell that set them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from traitlets import HasTraits, MetaHasTraits, TraitType

from ...client.call_arguments import to_command_text
from ...config.options import OPTIONS
from ...config.validators import validate_model
from ...errors import UsageError
from .parser import parse_option


class OptionTrait(TraitType):  # type: ignore[misc]  # traitlets is not followed
    """A default value as the user gave it, if it can be parsed; None is no default.

    Args:
        parse: Returns the parsed value, or raises UsageError.
        text: The help that ``%config AvocadoMagics`` prints.
    """

    default_value = None
    info_text = "a value that the option takes"

    def __init__(self, parse: Callable[[str], Any], text: str) -> None:
        super().__init__(help=text, allow_none=True, config=True)
        self._parse = parse

    def parsed(self, value: Any) -> Any:
        """Return the parsed value.

        Raises:
            UsageError: If the value is wrong.
        """
        return self._parse(to_command_text(value))

    def validate(self, _holder: object, value: Any) -> Any:
        """Return a value that can be parsed, unchanged; called by traitlets.

        Raises:
            UsageError: As for the same option on a line.
        """
        if value is not None:
            self.parsed(value)
        return value


def parse_models(text: str) -> tuple[str, ...]:
    """Return the models separated by commas or spaces.

    Raises:
        UsageError: If there is none.
    """
    models = tuple(validate_model(word) for word in text.replace(",", " ").split())
    if models:
        return models
    raise UsageError("No model is named.", "Name one, or set None for no default.")


def _traits() -> dict[str, OptionTrait]:
    text = "MODEL …: models to serve; several in a list, or separated by spaces"
    traits = {"model": OptionTrait(parse_models, text)}
    for option in OPTIONS:
        if option.is_secret:
            traits[option.python_name] = _refused(option.flag)
        elif option.is_setting:
            value = option.metavar or "True or False"
            traits[option.python_name] = OptionTrait(
                partial(parse_option, option),
                f"{value}: {option.help}",
            )
    return traits


def _refused(flag: str) -> OptionTrait:
    remedy = f"Write {flag} $NAME: a notebook or environment variable, or a secret."

    def refuse(_text: str) -> Any:
        raise UsageError("%config prints its values, so it takes no secrets.", remedy)

    return OptionTrait(refuse, f"Refused: %config prints its values. {remedy}")


TRAITS: Final = _traits()
OptionTraits: Any = MetaHasTraits("OptionTraits", (HasTraits,), dict(TRAITS))
"""Base class that gives the class of the magics its traits."""


def defaults_of(holder: Any) -> dict[str, Any]:
    """Return the defaults that are set, parsed, by the names of settings."""
    names = {option.python_name: option.name for option in OPTIONS}
    values = {name: getattr(holder, name) for name in TRAITS}
    return {
        names.get(name, "models"): TRAITS[name].parsed(value)
        for name, value in values.items()
        if value is not None
    }
