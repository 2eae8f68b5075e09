"""From a line of ``%avocado_keys`` to what it asks for; knows nothing of IPython."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from ...config.api_key_options import KEY_OPTIONS, ApiKeyRequest, build_api_key_request
from ...config.options import parse_flag
from ...errors import UsageError
from ...formatting import did_you_mean
from .commands import KEYS
from .parser import ParsedLine, parse_line, parse_option
from .variables import VariableResolver

ADD: Final = "add"
REVOKE: Final = "revoke"
_GRANTING: Final = frozenset(option.flag for option in KEY_OPTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysCommand:
    """What a line asks for: one key more, one less, or the list."""

    add: ApiKeyRequest | None = None
    revoke: str = ""
    rehearse: bool = False


def read_keys_line(line: str, names: VariableResolver) -> KeysCommand | None:
    """Read ``%avocado_keys``; None if help is asked for.

    Raises:
        UsageError: If it cannot be right.
        SecretMissing: If a ``$NAME`` is nowhere.
    """
    typed = parse_line(line, KEYS)
    if typed is None:
        return None
    rehearse = parse_flag(names.resolve(typed.options.get("--rehearse", "false")))
    action, *words = typed.words or ("",)
    if action not in ("", ADD, REVOKE):
        raise _unknown(action)
    granting = [flag for flag in typed.options if flag in _GRANTING]
    if granting and action != ADD:
        raise UsageError(
            f"{granting[0]} goes with a new key.",
            f"Write %avocado_keys add NAME {granting[0]} …",
        )
    if not action:
        return KeysCommand(rehearse=rehearse)
    name = _only(words, action, names)
    if action == REVOKE:
        return KeysCommand(revoke=name, rehearse=rehearse)
    grant = build_api_key_request(name, _resolved(typed, names))
    return KeysCommand(add=grant, rehearse=rehearse)


def _unknown(action: str) -> UsageError:
    usage = "Use add NAME, revoke NAME, or no word for the list."
    hint = did_you_mean(action, (ADD, REVOKE), usage)
    return UsageError(f"%avocado_keys has no {action!r}.", hint)


def _only(words: list[str], action: str, names: VariableResolver) -> str:
    if len(words) == 1:
        return names.resolve(words[0])
    problem = f"{words[1]!r} is one word too many." if words else "The name is missing."
    raise UsageError(problem, f"Write %avocado_keys {action} NAME")


def _resolved(typed: ParsedLine, names: VariableResolver) -> dict[str, Any]:
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
