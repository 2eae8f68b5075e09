"""The stand-in's ``ollama create NAME -f FILE``, from models but not from files."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterable
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


class _InvalidModelfile(Exception):
    """An error in a Modelfile, in Ollama's words."""


def create(name: str, modelfile: Path, address: tuple[str, int]) -> int:
    """Let the server create a model; return the exit status."""
    try:
        _post(address, _create_request(name, instructions(modelfile.read_text())))
    except (OSError, _InvalidModelfile) as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


def _create_request(name: str, parsed: Iterable[Instruction]) -> dict[str, Any]:
    listed = list(parsed)
    for instruction in listed:
        if instruction.name not in _COMMANDS:
            *most, last = (f'"{command}"' for command in _COMMANDS)
            commands = f"{', '.join(most)}, or {last}"
            raise _InvalidModelfile(
                f"(line {instruction.line}): command must be one of {commands}"
            )
    bases = [each.value for each in listed if each.name == FROM]
    if not bases:
        raise _InvalidModelfile("no FROM line")
    if Path(bases[-1]).is_absolute():
        raise _InvalidModelfile("this rehearsal engine creates models from models only")
    system = [each.value.strip('"') for each in listed if each.name == "system"]
    return {"model": name, "from": bases[-1], "system": "\n".join(system)}


def _post(address: tuple[str, int], body: dict[str, Any]) -> None:
    connection = http.client.HTTPConnection(*address, timeout=_ANSWER_S)
    try:
        connection.request("POST", "/api/create", json.dumps(body))
        for line in connection.getresponse():
            event = json.loads(line)
            if "error" in event:
                raise _InvalidModelfile(event["error"])
            sys.stderr.write(f"{event.get('status', '')}\n")
    finally:
        connection.close()
