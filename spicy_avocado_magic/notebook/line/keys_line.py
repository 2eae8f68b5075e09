"""From a line of ``%avocado_keys`` to what it asks for; knows nothing of IPython."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ...config.api_key_options import KEY_OPTIONS, Grant, grant_from
from ...config.options import nearest_match, parse_flag
from ...errors import UsageMistake
from .commands import KEYS
from .parser import Line, parse_option, sort_words
from .variables import Names

ADD: Final = "add"
REVOKE: Final = "revoke"
_GRANTING: Final = frozenset(option.flag for option in KEY_OPTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysRequest:
    """What a line asks for: one key more, one less, or the list."""

    add: Grant | None = None
    revoke: str = ""
    rehearse: bool = False


def read_keys_line(line: str, names: Names) -> KeysRequest | None:
    """Read ``%avocado_keys``; None if help is asked for.

    Raises:
        UsageMistake: If it cannot be right.
        SecretMissing: If a ``$NAME`` is nowhere.
    """
    typed = sort_words(line, KEYS)
    if typed is None:
        return None
    rehearse = parse_flag(names.resolve(typed.options.get("--rehearse", "false")))
    action, *words = typed.words or ("",)
    if action not in ("", ADD, REVOKE):
        raise _unknown(action)
    granting = [flag for flag in typed.options if flag in _GRANTING]
    if granting and action != ADD:
        raise UsageMistake(
            f"{granting[0]} goes with a new key.",
            f"Write %avocado_keys add NAME {granting[0]} …",
        )
    if not action:
        return KeysRequest(rehearse=rehearse)
    name = _only(words, action, names)
    if action == REVOKE:
        return KeysRequest(revoke=name, rehearse=rehearse)
    grant = grant_from(name, _resolved(typed, names))
    return KeysRequest(add=grant, rehearse=rehearse)


def _unknown(action: str) -> UsageMistake:
    near = nearest_match(action, (ADD, REVOKE))
    hint = "Use add NAME, revoke NAME, or no word for the list."
    if near:
        hint = f"Did you mean {near}?"
    return UsageMistake(f"%avocado_keys has no {action!r}.", hint)


def _only(words: list[str], action: str, names: Names) -> str:
    if len(words) == 1:
        return names.resolve(words[0])
    problem = f"{words[1]!r} is one word too many." if words else "The name is missing."
    raise UsageMistake(problem, f"Write %avocado_keys {action} NAME")


def _resolved(typed: Line, names: Names) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    for option in KEY_OPTIONS:
        text = typed.options.get(option.flag)
        if text is None:
            continue
        if option.name == "models":
            value = ",".join(names.models(text))
        else:
            value = names.resolve(text)
        parsed[option.name] = parse_option(option, value)
    return parsed
