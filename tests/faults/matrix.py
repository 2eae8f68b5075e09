"""All rows, and which of them can run on this machine."""

from __future__ import annotations

import os

from tests.real_engines import EXECUTABLES

from . import client, disk, engine, host, kernel, network, tunnel
from .fault import Engine, Fault

ROWS: tuple[Fault, ...] = (
    *engine.ROWS,
    *tunnel.ROWS,
    *network.ROWS,
    *host.ROWS,
    *kernel.ROWS,
    *disk.ROWS,
    *client.ROWS,
)


def named(name: str) -> Fault:
    """Return a row."""
    return next(fault for fault in ROWS if fault.name == name)


def why_not(fault: Fault) -> str:
    """Return why a row cannot run on this machine; empty if it can.

    Where ``AVOCADO_REQUIRE_REAL=1`` says that there must be a real engine, a row
    that needs one is run, and fails, rather than skipped.
    """
    is_required = os.environ.get("AVOCADO_REQUIRE_REAL") == "1"
    if fault.engine is Engine.REAL and not EXECUTABLES and not is_required:
        return "needs a real Ollama: see tests/real_engines.py"
    return fault.needs()


def chosen(area: str, names: str) -> list[Fault]:
    """Return the rows of an area, or those named; empty means all.

    Raises:
        ValueError: If no area or row has one of these names.
    """
    wanted = [name for name in names.split(",") if name]
    unknown = set(wanted) - {fault.name for fault in ROWS}
    unknown |= {area} - {fault.area for fault in ROWS} - {""}
    if unknown:
        raise ValueError(f"no such row or area: {', '.join(sorted(unknown))}")
    return [
        fault
        for fault in ROWS
        if area in {"", fault.area} and (not wanted or fault.name in wanted)
    ]
