"""What an ``up`` came to, as a sum type: callers ``match`` and none is forgotten."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import AvocadoError
from ..protocol.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """A host was started by this very call, and is ready."""

    state: State
    seconds: float
    has_new_key: bool
    """Whether this call made the key, which is then shown in full, once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reused:
    """A host was running, with everything as wanted."""

    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconfigured:
    """A host was running and has become what was wanted."""

    state: State
    what: tuple[str, ...]
    seconds: float
    has_new_key: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """``--background``: the host works on it."""

    state: State
    launched: bool
    has_new_key: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """It was given up; what this call began was taken back."""

    error: AvocadoError


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    """Nothing moved for minutes; the host goes on trying."""

    state: State
    waiting_for: str


Outcome = Launched | Reused | Reconfigured | Accepted | Failed | TimedOut
