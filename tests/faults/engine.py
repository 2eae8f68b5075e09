"""The engine's rows."""

from __future__ import annotations

from .fault import EXIT_S, Engine, Fault

ROWS = (
    Fault(
        name="server-killed",
        area="engine",
        expected="served again, requests held meanwhile",
        breaks=lambda service: service.kill(service.engine),
        bound_s=8.0,
        part="engine",
        detect_s=EXIT_S,
        engine=Engine.EITHER,
    ),
)
