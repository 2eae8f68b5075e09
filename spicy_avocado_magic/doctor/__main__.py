"""Entry point of the doctor: ``python -P -m spicy_avocado_magic.doctor``.

It runs in a process of its own, started by the kernel, because

- the checks import what a kernel must not (engine, tunnel, aiohttp, psutil); if such
  a package is broken, this process fails and the kernel makes that a finding;
- a thread that waits for a name, a driver or a disk cannot be interrupted, but a
  process can be killed together with all that it started;
- the daemon may be broken itself, so it does not run the checks.

It reads one line of JSON from standard input (``context.DoctorRequest``, with the
token). The last line of its standard output is JSON: the findings, and the report if
one was requested.
For a rehearsal without a daemon, the loopback world runs as long as the checks do.
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
    """Return all findings as JSON, and the report if it was requested."""
    async with _world(load_context(request)) as context:
        unredacted = await asyncio.to_thread(run_checks, context, CHECKS)
        redact = Redactor(known_secrets(context))
        findings = tuple(
            replace(f, what=redact(f.what), remedy=redact(f.remedy)) for f in unredacted
        )
        report = make_report(context, findings) if request.with_report else {}
    return {"findings": to_json(findings), "report": report}


@contextlib.asynccontextmanager
async def _world(context: DoctorContext) -> AsyncIterator[DoctorContext]:
    """Run a rehearsal's world, unless its daemon runs one."""
    if not context.rehearsal or context.is_running:
        yield context
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder)
        log, ready_s = path / "rehearsal.log", context.timeouts.launch_s
        world = await start_world(path / "world", log, ready_s=ready_s)
        try:
            yield replace(
                context, settings=replace(context.settings, sources=world.sources)
            )
        finally:
            await world.stop()


if __name__ == "__main__":
    request = from_json(DoctorRequest, json.loads(sys.stdin.readline()))
    # On a new line, since a library may have printed something before.
    sys.stdout.write("\n" + json.dumps(asyncio.run(main(request))) + "\n")
    sys.stdout.flush()
    # Without waiting for the threads of checks that hang.
    os._exit(0)
