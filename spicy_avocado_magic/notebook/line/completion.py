"""What Tab offers on a line of a magic; knows nothing of IPython.

Names are offered, never values: what a variable or a secret holds is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ...config.limits import NAMES as LIMIT_NAMES
from ...config.options import ENGINE_VARIABLES, Option
from ...config.validators import OLLAMA_VERSION
from .commands import COMMANDS, CommandSpec
from .keys_line import ADD, REVOKE
from .up_line import BY_VARIABLE, MODEL_KEYS

_LINE: Final = re.compile(
    r"\s*(?:[^\W\d][\w.]*\s*=\s*)?%{0,2}(?P<name>avocado_\w+)\s+(?P<rest>.*)"
)
"""A magic from its start to the cursor, with its name whole."""

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
"""Usual values of options, by their names."""

KEYS_OF_BODY: Final = (*BY_VARIABLE, MODEL_KEYS[0], *sorted(ENGINE_VARIABLES))
_FILES: Final = ("DIR", "FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionSources:
    """Where names come from; asked only when they are needed.

    Attributes:
        names: Those that ``$`` may stand before.
        models: Those installed, then the well-known ones.
        components: Those that have a log.
        paths: Files and folders whose paths begin with a text.
    """

    names: Callable[[], Sequence[str]]
    models: Callable[[], Sequence[str]]
    components: Callable[[], Sequence[str]]
    paths: Callable[[str], Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What was typed of a word, and the words that it may become."""

    typed: str
    candidates: tuple[str, ...]


def complete(text: str, known: CompletionSources) -> Completion | None:
    """Return what a line, up to the cursor, may go on with.

    None if it is no line of ours, or ours is over: in a comment or in quotes.
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
    return _fitting(*_offers(command, before, word, known))


def complete_body(text: str, known: CompletionSources) -> Completion | None:
    """Return what a line below ``%%avocado_up``, up to the cursor, may go on with."""
    match = _SETTING.fullmatch(text)
    if match is None:
        return None
    key, equals, value = match["setting"].partition("=")
    if not equals:
        return _fitting(key, [f"{one}=" for one in KEYS_OF_BODY])
    if key in MODEL_KEYS:
        return _fitting(value, known.models())
    option = BY_VARIABLE.get(key)
    if option is None:
        return _fitting(value, _dollars("$", known))
    return _fitting(*_values(option, value, known))


def _fitting(typed: str, offered: Sequence[str]) -> Completion:
    """Return those that begin as typed; in any case of letters if none does."""
    exact = [text for text in offered if text.startswith(typed)]
    like = [text for text in offered if text.lower().startswith(typed.lower())]
    return Completion(typed=typed, candidates=tuple(dict.fromkeys(exact or like)))


def _offers(
    command: CommandSpec, before: Sequence[str], word: str, known: CompletionSources
) -> tuple[str, Sequence[str]]:
    """Return the part of the word that is completed, and all that it may be."""
    options = command.option_by_flag
    flag, equals, value = word.partition("=")
    if equals and flag in options:
        return _values(options[flag], value, known)
    last = options.get(before[-1]) if before else None
    if last is not None and not last.is_flag:
        return _values(last, word, known)
    if word.startswith("$"):
        return word, _dollars(word, known)
    if word.startswith("-"):
        return word, _flags(command, before)
    words = tuple(_words(command, before, known))
    return word, words if word else (*words, *_flags(command, before))


def _flags(command: CommandSpec, before: Sequence[str]) -> tuple[str, ...]:
    given = {part.partition("=")[0] for part in before}
    left = (o.flag for o in command.options if o.repeats or o.flag not in given)
    return (*left, "--help")


def _values(
    option: Option, value: str, known: CompletionSources
) -> tuple[str, Sequence[str]]:
    if value.startswith("$"):
        return value, _dollars(value, known)
    if option.metavar in _FILES:
        return value, known.paths(value)
    if option.is_flag:
        return value, ("true", "false")
    typed = value.rpartition(",")[2] if option.repeats else value
    if option.name == "models":
        return typed, known.models()
    usual = _VALUES.get(option.name, ())
    return typed, usual if value or usual else _dollars("$", known)


def _words(
    command: CommandSpec, before: Sequence[str], known: CompletionSources
) -> Iterator[str]:
    """Yield what a word that is no option may be, by how the help shows it."""
    if "MODEL" in command.words:
        yield from known.models()
    has_one = any(part and not part.startswith("-") for part in before)
    if "component" in command.words and not has_one:
        yield from known.components()
    if ADD in command.words and not has_one:
        yield from (ADD, REVOKE)


def _dollars(word: str, known: CompletionSources) -> tuple[str, ...]:
    if word.startswith("${"):
        return tuple(f"${{{name}}}" for name in known.names())
    return tuple(f"${name}" for name in known.names())
