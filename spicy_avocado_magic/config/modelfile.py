"""Parser of a Modelfile's instructions, paths and base models; the engine's errors."""

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
    """One instruction, by the grammar of ``parser/parser.go`` in ollama/ollama."""

    line: int
    """Number of its first line, from 1."""
    name: str
    """In lower case."""
    value: str
    """All lines of it, with the quotes."""


def instructions(text: str) -> Iterator[Instruction]:
    """Yield the instructions; a quoted value may span several lines."""
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
    """Return the text with the paths that exist in ``folder`` made absolute.

    Every line keeps its number, for the engine's error messages.

    Raises:
        UsageError: For a path that does not exist: the engine would take it for the
            name of a model.
    """
    lines = text.splitlines()
    for item in instructions(text):
        if item.name in _WITH_PATHS and _exists(folder, item.value):
            path = folder / Path(item.value).expanduser()
            lines[item.line - 1] = f"{item.name.upper()} {path}"
        elif item.name in _WITH_PATHS and _PATH.fullmatch(item.value):
            raise UsageError(
                f"Line {item.line + 1} of this cell: {item.value!r} does not exist.",
                f"Relative paths start at {folder}",
            )
    return "\n".join(lines) + "\n"


def _exists(folder: Path, value: str) -> bool:
    try:
        path = Path(value).expanduser()
        is_pattern = any(sign in value for sign in "*?[")
        return (folder / path).exists() or (
            is_pattern and any((folder / path).parent.glob(path.name))
        )
    except (OSError, RuntimeError, ValueError):
        return False


def base_models(text: str) -> tuple[ModelName, ...]:
    """Return the models that it builds on; files are left out."""
    names = []
    for item in instructions(text):
        if item.name == FROM and not Path(item.value).is_absolute():
            try:
                names.append(ModelName.parse(item.value))
            except UsageError:
                continue  # the engine's own error explains it
    return tuple(names)


def parse_create_error(text: str, message: str) -> UsageError:
    """Return the engine's error for a Modelfile, with the line of the cell.

    The magic itself is line 1 of its cell. If the engine names no line, the line is
    searched by the parameter that the message quotes.
    """
    match = _ENGINE_LINE.search(message)
    problem = message[match.end() :] if match else message
    number = _line_at_fault(text, problem, int(match[1]) if match else 0)
    if not number:
        return UsageError(f"Ollama did not create the model: {problem}", _REMEDY)
    line = text.splitlines()[number - 1].strip()
    return UsageError(
        f"Line {number + 1} of this cell, {line[:_MAX_LINE_CHARS]!r}: {problem}",
        _REMEDY,
    )


_MAX_LINE_CHARS: Final = 60
_REMEDY: Final = "docs.ollama.com/modelfile describes the Modelfile."


def _line_at_fault(text: str, problem: str, reported: int) -> int:
    """Return the number of the wrong line in the Modelfile; 0 if it is not known."""
    lines = text.splitlines()
    if reported:
        known = {word.lower() for word in _QUOTED_WORD.findall(problem)}
        words = lines[reported - 1].split() if reported <= len(lines) else []
        # The engine reports a line with a single word as the next line.
        is_next = reported > 1 and (not words or words[0].lower() in known)
        return min(reported - is_next, len(lines))
    for named in _NAMED.findall(problem):
        for item in instructions(text):
            if item.name == "parameter" and named in item.value.split():
                return item.line
    return 0
