"""Examine: ``python -P -m spicy_avocado_magic.doctor``.

A process of its own, started by the kernel's side for each examination, because

- checks need what a kernel must not import (engine, tunnel, aiohttp, psutil); where
  such a package is broken, this process fails and the kernel tells it as a finding;
- names that do not resolve, drivers that hang and disks that do not answer cannot be
  interrupted in a thread, but a process can be ended with all that it started;
- the host may be the very thing that is broken, so it is not asked to look.

One line of JSON comes on standard input (``context.DoctorRequest``, with the token),
one leaves as the last on standard output: findings, and the report if it was asked for.
In a rehearsal without a host, the loopback world is opened for as long as this lasts.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..daemon.rehearsal_process import start_world
from ..protocol.json_codec import from_json, to_json
from ..system.redaction import Redactor
from .checks import CHECKS
from .context import DoctorContext, DoctorRequest, load_context
from .report import known_secrets, make_report
from .runner import run_checks


async def main(request: DoctorRequest) -> dict[str, Any]:
    """Return all findings as JSON, and the report if it is asked for."""
    async with _world(load_context(request)) as case:
        found = await asyncio.to_thread(run_checks, case, CHECKS)
        redact = Redactor(known_secrets(case))
        findings = tuple(
            replace(one, what=redact(one.what), remedy=redact(one.remedy))
            for one in found
        )
        report = make_report(case, findings) if request.with_report else {}
    return {"findings": to_json(findings), "report": report}


@contextlib.asynccontextmanager
async def _world(case: DoctorContext) -> AsyncIterator[DoctorContext]:
    """Open a rehearsal's world, unless its host has one open."""
    if not case.rehearsal or case.is_running:
        yield case
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        log, ready_s = place / "rehearsal.log", case.policy.launch_s
        world = await start_world(place / "world", log, ready_s=ready_s)
        try:
            yield replace(case, settings=replace(case.settings, sources=world.sources))
        finally:
            await world.stop()


if __name__ == "__main__":
    asked = from_json(DoctorRequest, json.loads(sys.stdin.readline()))
    # A line of its own, whatever a library may have printed before.
    sys.stdout.write("\n" + json.dumps(asyncio.run(main(asked))) + "\n")
    sys.stdout.flush()
    # A check that hangs may have left a thread that would be waited for.
    os._exit(0)
