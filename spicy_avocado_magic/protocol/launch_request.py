"""Launch of the daemon: one line of JSON each way over its standard streams.

The request may hold secrets, so it travels on standard input and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..system.processes import Identity
from .state import Failure

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchRequest:
    """What the kernel sends to a daemon that it starts."""

    given: JsonObject
    """Options given by the user, as JSON; may hold secrets."""
    only: bool
    """Whether the given models replace the stored ones."""
    endpoints: JsonObject
    """``config.settings.Endpoints`` as JSON."""
    timeouts: JsonObject
    """``config.timeouts.Timeouts`` as JSON."""
    owner: Identity | None = None
    """The process after whose end the daemon stops; None for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchReply:
    """What the daemon answers once it serves its control socket, or has failed."""

    ready: int = 0
    """Process id of the daemon; 0 if it could not start."""
    failure: Failure | None = None
