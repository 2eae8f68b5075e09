"""Models made from Modelfiles, by the engine's own ``ollama create``."""

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
    """What ``ollama create`` is run with.

    Attributes:
        executable: The engine's own program.
        environ: By which it finds the engine.
        name: Of the model to be.
        text: The Modelfile, with absolute paths.
        modelfile: Where it has been written.
        output: Where what the program says goes.
    """

    executable: Path
    environ: Mapping[str, str]
    name: str
    text: str
    modelfile: Path
    output: Path


async def run_ollama_create(
    creation: CreateCommand,
    *,
    on_spawn: Callable[[Identity], None],
    on_line: Callable[[str], None],
) -> None:
    """Make a model; a cancel ends the program and all that it has started.

    Args:
        creation: What to make.
        on_spawn: Told at once who the process is, so that it can be guarded.
        on_line: Told what the program does, in its own words; no errors.

    Raises:
        UsageError: If the Modelfile cannot be right, with the line of the cell.
        DiskTooSmall: If the model has no room.
        EngineFailed: If the program cannot be started, or fails without a word.
    """
    with creation.output.open("wb") as output:
        process = _start(creation, output)
    try:
        identity = identify(process.pid)
        if identity is not None:
            on_spawn(identity)
        # No event tells of a child's end on every platform.
        while process.poll() is None:
            await asyncio.sleep(_POLL_S)
            told = _last_line(creation.output)
            if _ERROR not in told:
                on_line(told)
    finally:
        signal_group(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode:
        raise _error(creation, _last_line(creation.output))


def _start(creation: CreateCommand, output: IO[bytes]) -> subprocess.Popen[bytes]:
    program = str(creation.executable)
    command = [program, "create", creation.name, "-f", str(creation.modelfile)]
    try:
        return spawn(command, log=output, env=creation.environ)
    except OSError as error:
        raise EngineFailed(
            f"{program} cannot be started ({error.strerror}).",
            "Run %avocado_up --restart.",
        ) from error


def _last_line(output: Path) -> str:
    """Return the last thing said; the program draws over its own lines."""
    lines = tail_lines(output, _TAIL_LINES)
    told = [strip_control_chars(line).strip() for line in lines]
    return next((line for line in reversed(told) if line), "")


def _error(creation: CreateCommand, said: str) -> AvocadoError:
    _, sign, problem = said.rpartition(_ERROR)
    if not sign:
        return EngineFailed(
            f"ollama create failed: {said[-_SHOWN:] or 'it said nothing'}",
            "%avocado_logs engine tells more.",
        )
    if "no space left" in problem.lower():
        return DiskTooSmall(
            f"The disk is too small for {creation.name}.",
            "Free some space, or use --models-dir.",
        )
    return parse_create_error(creation.text, problem[:_SHOWN])
