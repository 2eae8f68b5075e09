"""The stand-in's ``ollama create NAME -f FILE``: made of models alone, not of files."""

from __future__ import annotations

import http.client
import json
import sys
from pathlib import Path
from typing import Any, Final

from ...config.modelfile import FROM, Instruction, instructions

_COMMANDS: Final = (
    "from",
    "license",
    "template",
    "system",
    "adapter",
    "draft",
    "renderer",
    "parser",
    "parameter",
    "message",
    "requires",
)
_ANSWER_S: Final = 30.0


class _Mistake(Exception):
    """What a Modelfile gets wrong, in Ollama's words."""


def create(name: str, modelfile: Path, address: tuple[str, int]) -> int:
    """Have the server make a model; return the exit status."""
    try:
        _post(address, _wish(name, list(instructions(modelfile.read_text()))))
    except (OSError, _Mistake) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


def _wish(name: str, told: list[Instruction]) -> dict[str, Any]:
    for one in told:
        if one.name not in _COMMANDS:
            *most, last = (f'"{command}"' for command in _COMMANDS)
            listed = f"{', '.join(most)}, or {last}"
            raise _Mistake(f"(line {one.line}): command must be one of {listed}")
    bases = [one.value for one in told if one.name == FROM]
    if not bases:
        raise _Mistake("no FROM line")
    if Path(bases[-1]).is_absolute():
        raise _Mistake("this rehearsal engine makes models of models only")
    system = [one.value.strip('"') for one in told if one.name == "system"]
    return {"model": name, "from": bases[-1], "system": "\n".join(system)}


def _post(address: tuple[str, int], wish: dict[str, Any]) -> None:
    connection = http.client.HTTPConnection(*address, timeout=_ANSWER_S)
    try:
        connection.request("POST", "/api/create", json.dumps(wish))
        for line in connection.getresponse():
            told = json.loads(line)
            if "error" in told:
                raise _Mistake(told["error"])
            sys.stderr.write(f"{told.get('status', '')}\n")
    finally:
        connection.close()
