"""``%avocado_down``: stop the service."""

from __future__ import annotations

from ...client import api
from ...client.down import DownResult
from ...formatting import format_bytes, format_duration
from ..session import NOTHING_RUNS, MagicCall, print_line


def run(call: MagicCall) -> None:
    """Stop what runs, and print what was stopped.

    Raises:
        UsageError: If the line is wrong.
        DaemonUnreachable: If something could not be stopped.
    """
    flags = call.parse()
    results = api.down(**flags)
    for result in results:
        print_line(down_text(result), rehearsal=result.rehearsal)
    if not results:
        print_line(NOTHING_RUNS, rehearsal=flags["rehearse"])


def down_text(result: DownResult) -> str:
    """Return in one line what was stopped or removed."""
    if result.purged is not None:
        names = ", ".join(result.purged.releases) or "nothing: no Ollama was installed"
        freed = format_bytes(result.purged.freed_bytes)
        return f"Removed {names}. {freed} freed; your models are untouched."
    processes = ", ".join(result.processes)
    if not result.was_running:
        return f"Cleaned up after a service that had crashed: {processes}."
    return (
        f"Stopped in {format_duration(result.seconds)} ({processes}). The URL and its "
        "keys no longer work; models stay on disk. Nothing is left: no process, no "
        "open port, no file with a secret."
    )
