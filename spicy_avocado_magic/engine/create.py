"""Creation of models from Modelfiles by ``ollama create``."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from ..config.modelfile import parse_create_error
from ..errors import AvocadoError, DiskTooSmall, EngineFailed
from ..system.processes import Identity, identify, signal_group, spawn
from ..system.redaction import strip_control_chars
from ..system.rotating_file import tail_lines

_POLL_S: Final = 0.1
_ERROR: Final = "Error: "
_TAIL_LINES: Final = 5
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateCommand:
    """The arguments of one run of ``ollama create``.

    Attributes:
        executable: The engine's own program.
        environ: Its environment, which names the engine.
        name: The name of the new model.
        text: The Modelfile, with absolute paths.
        modelfile: The file that holds it.
        output: The file that receives the program's output.
    """

    executable: Path
    environ: Mapping[str, str]
    name: str
    text: str
    modelfile: Path
    output: Path


async def run_ollama_create(
    command: CreateCommand,
    *,
    on_spawn: Callable[[Identity], None],
    on_line: Callable[[str], None],
) -> None:
    """Create a model; a cancellation kills the program's process group.

    Args:
        command: Program, Modelfile and files.
        on_spawn: Called at once with the process's identity, so that the reaper can
            end it.
        on_line: Called with the last line of the output, unless it is an error.

    Raises:
        UsageError: If the Modelfile is invalid, with the line of the cell.
        DiskTooSmall: If the model does not fit.
        EngineFailed: If the program cannot be started, or fails for another reason.
    """
    with command.output.open("wb") as output:
        process = _start(command, output)
    try:
        identity = identify(process.pid)
        if identity is not None:
            on_spawn(identity)
        # No platform-independent event reports the exit of a child.
        while process.poll() is None:
            await asyncio.sleep(_POLL_S)
            line = _last_line(command.output)
            if _ERROR not in line:
                on_line(line)
    finally:
        signal_group(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        raise _error(command, _last_line(command.output))


def _start(command: CreateCommand, output: IO[bytes]) -> subprocess.Popen[bytes]:
    program = str(command.executable)
    arguments = [program, "create", command.name, "-f", str(command.modelfile)]
    try:
        return spawn(arguments, log=output, env=command.environ)
    except OSError as error:
        raise EngineFailed(
            f"{program} cannot be started ({error.strerror}).",
            "Run %avocado_up --restart.",
        ) from error


def _last_line(output: Path) -> str:
    """Return the last line that is not empty; the program redraws its lines."""
    lines = [strip_control_chars(line) for line in tail_lines(output, _TAIL_LINES)]
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _error(command: CreateCommand, line: str) -> AvocadoError:
    _, prefix, problem = line.rpartition(_ERROR)
    if not prefix:
        return EngineFailed(
            f"ollama create failed: {line[-_SHOWN:] or 'it printed no error'}",
            "Run %avocado_logs engine for details.",
        )
    if "no space left" in problem.lower():
        return DiskTooSmall(
            f"The disk is too small for {command.name}.",
            "Free some space, or use --models-dir.",
        )
    return parse_create_error(command.text, problem[:_SHOWN])
