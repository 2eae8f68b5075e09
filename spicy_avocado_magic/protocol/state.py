"""What host and kernel say to each other: ``State`` snapshots and ``Event`` lines."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .usage import KeyLimits, TokenUsage, UsageTotals

PROTOCOL: Final = 2
"""Raised when a host and a kernel of different versions could misunderstand."""

COMPONENTS: Final = ("engine", "models", "gateway", "tunnel")
STAGES: Final = (
    ("install", "engine"),
    ("pull", "models"),
    ("serve", "engine"),
    ("warm", "models"),
    ("gateway", "gateway"),
    ("tunnel", "tunnel"),
    ("probe", "tunnel"),
)
"""The stages in the order in which they are shown, each with its component."""


class Phase(StrEnum):
    """Where a stage, component or model is in its life."""

    OFF = "off"
    """Not wanted, such as the tunnel under ``--local``."""
    WAITING = "waiting"
    """Waits for something it depends on."""
    STARTING = "starting"
    READY = "ready"
    BACKOFF = "backoff"
    """It fell and will be tried again."""
    FAILED = "failed"
    """It was given up; the next ``up`` tries again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An ``AvocadoError`` in a form that crosses processes."""

    kind: str
    """Name of the error's class."""
    problem: str
    remedy: str
    log_tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a download has come."""

    done_bytes: int
    total_bytes: int
    rate_bytes_s: float = 0.0
    """Over the last seconds."""

    @property
    def fraction(self) -> float:
        """Part done, 0 to 1."""
        return min(1.0, self.done_bytes / self.total_bytes) if self.total_bytes else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds left at the present rate; None while nothing moves."""
        if self.rate_bytes_s <= 0:
            return None
        return max(0, self.total_bytes - self.done_bytes) / self.rate_bytes_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step from cell to URL."""

    name: str
    component: str
    phase: Phase = Phase.WAITING
    detail: str = ""
    """What it does or did, in plain words."""
    elapsed_s: float = 0.0
    """How long it has taken so far, or took."""
    progress: Progress | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """One wanted model."""

    name: str
    phase: Phase = Phase.WAITING
    size_bytes: int = 0
    """On disk, all layers."""
    fit: str = ""
    """What is expected of it in memory, in plain words, before it is loaded."""
    memory_bytes: int = 0
    """While loaded; 0 when it is not."""
    gpu_bytes: int = 0
    """The part of the memory that sits on the GPU."""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyState(KeyLimits, UsageTotals):
    """One key, what it may do, and what it has used since it was made."""

    expires_in_s: float | None = None
    """0 once it has expired; None if it never does."""
    idle_s: float | None = None
    """Since its last request; None if there was none yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage(UsageTotals):
    """What one model has answered since the gateway was opened."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficStats(TokenUsage):
    """What goes through the gateway now, and went since it was opened."""

    in_flight: int = 0
    queued: int = 0
    """Requests that wait for a place before the engine."""
    tokens_a_second: float = 0.0
    """Of answers, over the last ten seconds."""
    first_token_p50_s: float | None = None
    """Of the last streams; None before the first."""
    first_token_p95_s: float | None = None
    public_requests: int = 0
    """Through the public URL, refused ones included: ngrok counts them all."""
    public_bytes_out: int = 0
    statuses: tuple[tuple[int, int], ...] = ()
    """Status codes, with how often each was answered."""
    models: tuple[ModelUsage, ...] = ()
    lost_lines: int = 0
    """Of the access log: the disk did not take them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMember:
    """One notebook behind a pool's URL."""

    id: str
    """Random; each of its replies carries it as ``X-Avocado-Member``."""
    models: tuple[str, ...] = ()
    """Those that it serves."""
    seen_s: float | None = None
    """Seconds since it answered or asked through the URL; None if it never did."""
    is_self: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A snapshot of everything, with the sequence number of its last event."""

    sequence: int = 0
    rehearsal: bool = False
    version: str = ""
    """Of the package that the host runs."""
    protocol: int = PROTOCOL
    pid: int = 0
    uptime_s: float = 0.0
    url: str = ""
    """Public URL; empty until it was probed, and under ``--local``."""
    local_url: str = ""
    api_key: str = ""
    """What clients send; empty under ``--no-auth``."""
    key_is_generated: bool = False
    hide_key: bool = False
    path_key: bool = False
    engine: str = ""
    """Name and version of the engine: ``Ollama 0.34.1``."""
    compute: str = ""
    """What the engine computes on, such as ``NVIDIA T4, 15.8 GB`` or ``CPU``."""
    warnings: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    models: tuple[ModelState, ...] = ()
    keys: tuple[ApiKeyState, ...] = ()
    """The owner's first, then those given to others."""
    members: tuple[PoolMember, ...] = ()
    """Of the pool, ourselves first; empty without ``--pool``."""
    requests: int = 0
    """Requests with a valid key, probes left out."""
    refused: int = 0
    """Requests turned away: no key, wrong key, closed route, foreign origin."""
    bytes_out: int = 0
    traffic: TrafficStats = TrafficStats()
    metrics_url: str = ""
    """Where a scraper gets all this; empty while there is no such port."""
    metrics_token: str = ""
    """What the scraper sends; empty unless ``--metrics-port`` is wanted."""
    ends_in_s: float | None = None
    """Seconds until ``--ttl`` ends the host."""
    log_path: str = ""

    def stage(self, name: str) -> Stage:
        """Return the stage of this name.

        Raises:
            KeyError: If there is none.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    def component(self, name: str) -> Phase:
        """Return a component's phase: that of its stage which is worst off."""
        phases = [stage.phase for stage in self.stages if stage.component == name]
        order = (
            Phase.FAILED,
            Phase.BACKOFF,
            Phase.STARTING,
            Phase.WAITING,
            Phase.READY,
        )
        return next((phase for phase in order if phase in phases), Phase.OFF)

    @property
    def engine_text(self) -> str:
        """The engine and on what it computes, such as ``Ollama 0.34.1 on CPU``."""
        return f"{self.engine} on {self.compute}" if self.engine else "(none yet)"

    @property
    def is_ready(self) -> bool:
        """Whether every wanted stage and model is ready."""
        done = (Phase.READY, Phase.OFF)
        return (
            bool(self.stages)
            and all(stage.phase in done for stage in self.stages)
            and all(model.phase is Phase.READY for model in self.models)
        )

    @property
    def failure(self) -> Failure | None:
        """The first failure of a stage or model that was given up."""
        parts: tuple[ModelState | Stage, ...] = (*self.models, *self.stages)
        for part in parts:
            if part.phase is Phase.FAILED and part.failure is not None:
                return part.failure
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One transition; the host keeps the last 1,000."""

    sequence: int
    at_s: float
    """Seconds since the epoch, by the host's clock."""
    component: str
    stage: str
    phase: Phase
    text: str
