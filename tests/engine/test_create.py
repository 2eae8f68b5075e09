"""``ollama create`` run, watched and ended; its words made into errors."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from spicy_avocado_magic.engine import create as engine_creation
from spicy_avocado_magic.engine.create import CreateCommand, run_ollama_create
from spicy_avocado_magic.errors import DiskTooSmall, EngineFailed, UsageError
from spicy_avocado_magic.system.processes import Identity
from tests.machine_speed import scaled

WAIT_S = scaled(20.0)
TEXT = "FROM tiny\nSTOP x\n"


def creation(folder: Path, script: str) -> CreateCommand:
    """Return a run of a stand-in program with this script."""
    program = folder / "ollama"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return CreateCommand(
        executable=program,
        environ=dict(os.environ),
        name="mine",
        text=TEXT,
        modelfile=folder / "Modelfile",
        output=folder / "output",
    )


async def run(command: CreateCommand) -> None:
    """Run it."""
    await run_ollama_create(command, on_spawn=lambda _: None, on_line=lambda _: None)


async def test_the_program_is_run_as_on_a_command_line(tmp_path: Path) -> None:
    """It gets the name and the file, and a session of its own."""
    known = tmp_path / "known"
    script = (
        f"while [ ! -e {known} ]; do sleep 0.02; done\n"
        f'echo "$@" > {tmp_path}/called\nps -o sid= -p $$ > {tmp_path}/sid'
    )
    started: list[Identity] = []

    def on_spawn(identity: Identity) -> None:
        started.append(identity)
        known.touch()

    command = creation(tmp_path, script)
    await run_ollama_create(command, on_spawn=on_spawn, on_line=lambda _: None)
    assert (tmp_path / "called").read_text() == (
        f"create mine -f {tmp_path}/Modelfile\n"
    )
    assert int((tmp_path / "sid").read_text()) == started[0].pid


async def test_the_last_line_of_the_output_is_reported_without_escapes(
    tmp_path: Path,
) -> None:
    """Redrawn lines are not reported twice."""
    go_on = tmp_path / "go"
    os.mkfifo(go_on)
    script = f"printf '\\033[?25lone\\n\\033[1Gtwo \\033[K\\n' >&2; cat {go_on}"
    lines: list[str] = []

    def on_line(line: str) -> None:
        if line == "two" and "two" not in lines:
            go_on.write_text("")
        lines.append(line)

    command = creation(tmp_path, script)
    await asyncio.wait_for(
        run_ollama_create(command, on_spawn=lambda _: None, on_line=on_line), 20
    )
    assert lines[-1] == "two"


async def test_an_error_line_is_raised_and_not_reported_as_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is raised when the program has exited."""
    go_on = tmp_path / "go"
    os.mkfifo(go_on)
    last_line = engine_creation._last_line
    seen: list[str] = []

    def look(output: Path) -> str:
        line = last_line(output)
        if line.startswith("Error") and line not in seen:
            seen.append(line)
            go_on.write_text("")
        return line

    monkeypatch.setattr(engine_creation, "_last_line", look)
    lines: list[str] = []
    command = creation(tmp_path, f"echo 'Error: no FROM line' >&2; cat {go_on}; exit 1")
    with pytest.raises(UsageError, match="no FROM line"):
        await run_ollama_create(command, on_spawn=lambda _: None, on_line=lines.append)
    assert seen
    assert set(lines) <= {""}


@pytest.mark.parametrize(
    ("output", "kind", "message"),
    [
        ("Error: (line 2): command must be one of", UsageError, "Line 3 of this"),
        ("\\033[?25hError: no FROM line", UsageError, "no FROM line"),
        ("Error: write: no space left on device", DiskTooSmall, "too small"),
        ("Killed", EngineFailed, "Killed"),
        ("", EngineFailed, "it printed no error"),
    ],
)
async def test_each_error_of_the_program_is_mapped(
    tmp_path: Path, output: str, kind: type[Exception], message: str
) -> None:
    """An error in the Modelfile names the line of the cell."""
    with pytest.raises(kind, match=message):
        await run(creation(tmp_path, f"printf '{output}\\n' >&2; exit 1"))


async def test_a_program_that_cannot_be_started_is_an_engine_failure(
    tmp_path: Path,
) -> None:
    """It may have been removed after the engine was started."""
    command = creation(tmp_path, "")
    command.executable.unlink()
    with pytest.raises(EngineFailed, match="cannot be started"):
        await run(command)


async def test_a_cancellation_kills_the_program_and_its_children(
    tmp_path: Path,
) -> None:
    """Nothing keeps running for a kernel that is gone."""
    started = asyncio.Event()
    who: list[Identity] = []

    def on_line(line: str) -> None:
        if line == "up":
            started.set()

    command = creation(tmp_path, "trap '' TERM; sleep 60 & echo up; wait")
    task = asyncio.create_task(
        run_ollama_create(command, on_spawn=who.append, on_line=on_line)
    )
    await asyncio.wait_for(started.wait(), scaled(20))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    group = who[0].pid
    deadline = time.monotonic() + WAIT_S
    # The killed child of the killed shell is reaped by pid 1, a moment later.
    while _is_group(group):
        assert time.monotonic() < deadline, "something works on"
        await asyncio.sleep(0.01)


def _is_group(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
