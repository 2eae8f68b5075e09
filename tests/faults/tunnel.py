"""The tunnel's rows."""

from __future__ import annotations

from .fault import EXIT_S, Fault

ROWS = (
    Fault(
        name="agent-killed",
        area="tunnel",
        expected="same URL again",
        breaks=lambda service: service.kill(service.agent),
        bound_s=8.0,
        part="tunnel",
        detect_s=EXIT_S,
    ),
)
