"""Defaults by ``%config AvocadoMagics.NAME = …``: a trait for each setting.

Secrets are left out on purpose: ``%config`` prints what it holds, configuration files
are no place for them, and a notebook keeps the cell that set them.
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

_SAY_HOW: Final = "Pass {flag} $NAME, of a variable, the environment or a secret."


class OptionTrait(TraitType):  # type: ignore[misc]  # traitlets is not followed
    """A value as its user gave it, once it can be parsed; None is no default.

    Args:
        parse: Returns what it stands for, or raises UsageError.
        text: What ``%config AvocadoMagics`` tells about it.
    """

    default_value = None
    info_text = "a value that the option takes"

    def __init__(self, parse: Callable[[str], Any], text: str) -> None:
        super().__init__(help=text, allow_none=True, config=True)
        self._parse = parse

    def parsed(self, value: Any) -> Any:
        """Return what a value stands for.

        Raises:
            UsageError: If it cannot be right.
        """
        return self._parse(to_command_text(value))

    def validate(self, _holder: object, value: Any) -> Any:
        """Return a value that can be parsed; called by traitlets.

        Raises:
            UsageError: With the words that the line would get.
        """
        if value is not None:
            self.parsed(value)
        return value


def parse_models(text: str) -> tuple[str, ...]:
    """Return the models between commas or blanks; none is a mistake."""
    models = tuple(validate_model(word) for word in text.replace(",", " ").split())
    if models:
        return models
    raise UsageError("No model is named.", "Name one, or set None for no default.")


def _traits() -> dict[str, OptionTrait]:
    text = "MODEL …: models that are served; several in a list or with blanks"
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
    remedy = _SAY_HOW.format(flag=flag)

    def refuse(_text: str) -> Any:
        raise UsageError(
            "No secret is kept in %config, which prints what it holds.", remedy
        )

    return OptionTrait(refuse, f"Never here: %config prints what it holds. {remedy}")


TRAITS: Final = _traits()
OptionTraits: Any = MetaHasTraits("WithDefaults", (HasTraits,), dict(TRAITS))
"""What the class of the magics inherits its traits from."""


def defaults_of(holder: Any) -> dict[str, Any]:
    """Return the defaults that are set, parsed, by the names of settings."""
    names = {option.python_name: option.name for option in OPTIONS}
    held = {name: getattr(holder, name) for name in TRAITS}
    return {
        names.get(name, "models"): TRAITS[name].parsed(value)
        for name, value in held.items()
        if value is not None
    }
