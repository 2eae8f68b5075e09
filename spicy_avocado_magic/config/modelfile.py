"""A Modelfile's instructions, as far as one must know them without the engine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import UsageError
from .model_name import ModelName

FROM: Final = "from"
_WITH_PATHS: Final = frozenset({FROM, "adapter", "draft"})
_WITH_A_WORD_BEFORE: Final = frozenset({"parameter", "message"})
_LONG: Final = '"""'
_PATH: Final = re.compile(r"(?:\.{0,2}|~)/.*|[^/]*\.gguf")
_ENGINE_LINE: Final = re.compile(r"\(line (\d+)\): ")
_QUOTED_WORD: Final = re.compile(r'"(\w+)"')
_NAMED: Final = re.compile(r"""(?:['"\[])([^'"\]\s]+)(?:['"\]])""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction, as ``parser/parser.go`` in ollama/ollama reads it."""

    line: int
    """On which it begins, from 1."""
    name: str
    """In lower case."""
    value: str
    """With its quotes, all lines of it."""


def instructions(text: str) -> Iterator[Instruction]:
    """Yield what is not blank and no comment; quotes may hold several lines."""
    lines = enumerate(text.splitlines(), 1)
    for number, line in lines:
        name, _, value = line.strip().replace("\t", " ").partition(" ")
        if not name or name.startswith("#"):
            continue
        name, value = name.lower(), value.strip()
        while not _is_whole(name, value):
            following = next(lines, None)
            if following is None:
                break
            value = f"{value}\n{following[1]}".rstrip()
        yield Instruction(line=number, name=name, value=value)


def _is_whole(name: str, value: str) -> bool:
    if name in _WITH_A_WORD_BEFORE:
        value = value.partition(" ")[2].strip()
    if value.startswith(_LONG):
        return len(value) >= 2 * len(_LONG) and value.endswith(_LONG)
    return not value.startswith('"') or (len(value) > 1 and value.endswith('"'))


def with_absolute_paths(text: str, folder: Path) -> str:
    """Return the text with what it names of ``folder`` as absolute paths.

    Every line keeps its number, so that the engine's errors tell the right one.

    Raises:
        UsageError: For a path that leads nowhere: the engine would take it for a
            model's name, and say so.
    """
    lines = text.splitlines()
    for one in instructions(text):
        if one.name in _WITH_PATHS and _is_here(folder, one.value):
            path = folder / Path(one.value).expanduser()
            lines[one.line - 1] = f"{one.name.upper()} {path}"
        elif one.name in _WITH_PATHS and _PATH.fullmatch(one.value):
            raise UsageError(
                f"Line {one.line + 1} of this cell: there is no {one.value!r}.",
                f"Relative paths lead from {folder}",
            )
    return "\n".join(lines) + "\n"


def _is_here(folder: Path, value: str) -> bool:
    try:
        path = Path(value).expanduser()
        is_pattern = any(sign in value for sign in "*?[")
        return (folder / path).exists() or (
            is_pattern and any((folder / path).parent.glob(path.name))
        )
    except (OSError, RuntimeError, ValueError):
        return False


def base_models(text: str) -> tuple[ModelName, ...]:
    """Return the models that it is made from; files are none."""
    names = []
    for one in instructions(text):
        if one.name == FROM and not Path(one.value).is_absolute():
            try:
                names.append(ModelName.parse(one.value))
            except UsageError:
                continue  # the engine says what is wrong with it
    return tuple(names)


def parse_create_error(text: str, said: str) -> UsageError:
    """Return what an engine said of a Modelfile as an error with the cell's line.

    The magic itself is line 1 of its cell. Where the engine tells no line, the one
    that has what it names is looked for.
    """
    match = _ENGINE_LINE.search(said)
    problem = said[match.end() :] if match else said
    number = _line_at_fault(text, problem, int(match[1]) if match else 0)
    if not number:
        return UsageError(f"Ollama made no model: {problem}", _REMEDY)
    line = text.splitlines()[number - 1].strip()
    return UsageError(
        f"Line {number + 1} of this cell, {line[:_SHOWN]!r}: {problem}", _REMEDY
    )


_SHOWN: Final = 60
_REMEDY: Final = "docs.ollama.com/modelfile tells what a Modelfile may say."


def _line_at_fault(text: str, problem: str, told: int) -> int:
    """Return the line's number in the Modelfile; 0 if it is not known."""
    lines = text.splitlines()
    if told:
        known = {word.lower() for word in _QUOTED_WORD.findall(problem)}
        words = lines[told - 1].split() if told <= len(lines) else []
        # A lone word is read to the end of its line, so told as of the next one.
        is_next = told > 1 and (not words or words[0].lower() in known)
        return min(told - is_next, len(lines))
    for named in _NAMED.findall(problem):
        for one in instructions(text):
            if one.name == "parameter" and named in one.value.split():
                return one.line
    return 0
