"""Tab completion of a magic's line; independent of IPython.

Names are offered, never values: the value of a variable or secret is not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ...client.log_reader import LOG_COMPONENTS
from ...config.limits import NAMES as LIMIT_NAMES
from ...config.options import ENGINE_VARIABLES, Option
from ...config.validators import OLLAMA_VERSION
from .command_table import COMMANDS, CommandSpec
from .up_line import BY_VARIABLE, MODEL_KEYS

_LINE: Final = re.compile(
    r"\s*(?:[^\W\d][\w.]*\s*=\s*)?%{0,2}(?P<name>avocado_\w+)\s+(?P<rest>.*)"
)
"""A magic's line up to the cursor, after its whole name."""

_SETTING: Final = re.compile(r"\s*(?:export\s+)?(?P<setting>[^\s'\"#]*)")
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")

_VALUES: Final[dict[str, Sequence[str]]] = {
    "context": ("4096", "8192", "16384", "32768"),
    "cors": ("none", "*"),
    "expires_s": ("30m", "2h", "24h"),
    "keep_alive": ("5m", "30m", "2h", "-1"),
    "limits": tuple(f"{name}=" for name in LIMIT_NAMES),
    "metrics_port": ("9464", "none"),
    "ollama_version": (OLLAMA_VERSION, "latest"),
    "registries": ("none",),
    "ttl_s": ("30m", "2h", "8h"),
}
"""Common values of options, by name."""

KEYS_OF_BODY: Final = (*BY_VARIABLE, MODEL_KEYS[0], *sorted(ENGINE_VARIABLES))
_FILES: Final = ("DIR", "FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionSources:
    """Functions that list names, called only when they are needed.

    Attributes:
        names: Variables that may follow ``$``.
        models: Installed models, then well-known ones.
        paths: Paths of files and folders that begin with a text.
    """

    names: Callable[[], Sequence[str]]
    models: Callable[[], Sequence[str]]
    paths: Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The typed part of a word, and its completions."""

    typed: str
    candidates: tuple[str, ...]


def complete(text: str, sources: CompletionSources) -> Completion | None:
    """Return the completions at the end of a line, which is cut at the cursor.

    None if it is not a line of our magics, or ends in a comment or in quotes.
    """
    match = _LINE.fullmatch(text)
    command = next((c for c in COMMANDS if match and c.name == match["name"]), None)
    if match is None or command is None:
        return None
    bare = _QUOTED.sub(lambda quoted: "x" * len(quoted[0]), match["rest"])
    *before, word = re.split(r"\s+", bare)
    is_over = any(part.startswith("#") for part in (*before, word))
    if is_over or re.search(r"['\"]", bare) or not text.endswith(word):
        return None
    return _fitting(*_offers(command, before, word, sources))


def complete_body(text: str, sources: CompletionSources) -> Completion | None:
    """Return the completions at the end of a line below ``%%avocado_up``."""
    match = _SETTING.fullmatch(text)
    if match is None:
        return None
    key, equals, value = match["setting"].partition("=")
    if not equals:
        return _fitting(key, [f"{name}=" for name in KEYS_OF_BODY])
    if key in MODEL_KEYS:
        return _fitting(value, sources.models())
    option = BY_VARIABLE.get(key)
    if option is None:
        return _fitting(value, _dollars("$", sources))
    return _fitting(*_values(option, value, sources))


def _fitting(typed: str, offered: Sequence[str]) -> Completion:
    """Return the words that begin as typed, ignoring case if none does exactly."""
    exact = [text for text in offered if text.startswith(typed)]
    similar = [text for text in offered if text.lower().startswith(typed.lower())]
    return Completion(typed=typed, candidates=tuple(dict.fromkeys(exact or similar)))


def _offers(
    command: CommandSpec, before: Sequence[str], word: str, sources: CompletionSources
) -> tuple[str, Sequence[str]]:
    """Return the part of the word to complete, and all the words that it may be."""
    options = command.option_by_flag
    flag, equals, value = word.partition("=")
    if equals and flag in options:
        return _values(options[flag], value, sources)
    last = options.get(before[-1]) if before else None
    if last is not None and not last.is_flag:
        return _values(last, word, sources)
    if word.startswith("$"):
        return word, _dollars(word, sources)
    if word.startswith("-"):
        return word, _flags(command, before)
    words = tuple(_words(command, before, sources))
    return word, words if word else (*words, *_flags(command, before))


def _flags(command: CommandSpec, before: Sequence[str]) -> tuple[str, ...]:
    given = {part.partition("=")[0] for part in before}
    left = (o.flag for o in command.options if o.repeats or o.flag not in given)
    return (*left, "--help")


def _values(
    option: Option, value: str, sources: CompletionSources
) -> tuple[str, Sequence[str]]:
    if value.startswith("$"):
        return value, _dollars(value, sources)
    if option.metavar in _FILES:
        return value, sources.paths(value)
    if option.is_flag:
        return value, ("true", "false")
    typed = value.rpartition(",")[2] if option.repeats else value
    if option.name == "models":
        return typed, sources.models()
    usual = _VALUES.get(option.name, ())
    return typed, usual if value or usual else _dollars("$", sources)


def _words(
    command: CommandSpec, before: Sequence[str], sources: CompletionSources
) -> Iterator[str]:
    """Yield the words that a positional argument may be."""
    is_first = not any(part and not part.startswith("-") for part in before)
    for argument in command.arguments:
        if argument.is_model:
            yield from sources.models()
        if argument.name == "component" and is_first:
            yield from LOG_COMPONENTS
        if is_first:
            yield from argument.choices


def _dollars(word: str, sources: CompletionSources) -> tuple[str, ...]:
    if word.startswith("${"):
        return tuple(f"${{{name}}}" for name in sources.names())
    return tuple(f"${name}" for name in sources.names())
