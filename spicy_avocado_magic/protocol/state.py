"""Records of the control protocol: ``State`` snapshots and ``Event`` lines."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from .usage import KeyLimits, TokenUsage, UsageTotals

PROTOCOL: Final = 2
"""Protocol version; incremented with each change that older versions cannot read."""

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
"""Stages in display order, each with its component."""


class Phase(StrEnum):
    """Lifecycle phase of a stage, component or model."""

    OFF = "off"
    """Not requested, such as the tunnel under ``--local``."""
    WAITING = "waiting"
    """A dependency is not ready."""
    STARTING = "starting"
    READY = "ready"
    BACKOFF = "backoff"
    """It failed and will be retried."""
    FAILED = "failed"
    """It failed and will not be retried before the next ``up``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An ``AvocadoError`` as a serialisable record."""

    kind: str
    """Class name of the error."""
    problem: str
    remedy: str
    log_tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress of a download."""

    done_bytes: int
    total_bytes: int
    rate_bytes_s: float = 0.0
    """Average over the last seconds, in bytes per second."""

    @property
    def fraction(self) -> float:
        """Completed part, 0 to 1."""
        return min(1.0, self.done_bytes / self.total_bytes) if self.total_bytes else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds left at the current rate; None while the rate is 0."""
        if self.rate_bytes_s <= 0:
            return None
        return max(0, self.total_bytes - self.done_bytes) / self.rate_bytes_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step on the way from the cell to the public URL."""

    name: str
    component: str
    phase: Phase = Phase.WAITING
    detail: str = ""
    """Its current or last action, for users."""
    elapsed_s: float = 0.0
    """Seconds since it started, or its duration once it has ended."""
    progress: Progress | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelState:
    """One requested model."""

    name: str
    phase: Phase = Phase.WAITING
    size_bytes: int = 0
    """Size on disk, all layers."""
    fit: str = ""
    """Estimate of its memory use before it is loaded, for users."""
    memory_bytes: int = 0
    """Memory in use while loaded, else 0."""
    gpu_bytes: int = 0
    """The part of ``memory_bytes`` on the GPU."""
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyState(KeyLimits, UsageTotals):
    """An API key's limits and permissions, and its usage since its creation."""

    expires_in_s: float | None = None
    """Seconds until it expires, 0 afterwards; None if it never expires."""
    idle_s: float | None = None
    """Seconds since its last request; None before the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUsage(UsageTotals):
    """Usage of one model since the gateway was opened."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficStats(TokenUsage):
    """Gateway traffic: requests in progress, and totals since it was opened."""

    in_flight: int = 0
    queued: int = 0
    """Requests in the admission queue."""
    tokens_a_second: float = 0.0
    """Output tokens, averaged over the last ten seconds."""
    first_token_p50_s: float | None = None
    """Median time to first token of recent streams, in seconds; None before one."""
    first_token_p95_s: float | None = None
    public_requests: int = 0
    """Requests through the public URL, refused ones too: ngrok counts them all."""
    public_bytes_out: int = 0
    statuses: tuple[tuple[int, int], ...] = ()
    """Pairs of HTTP status code and number of responses."""
    models: tuple[ModelUsage, ...] = ()
    lost_lines: int = 0
    """Lines of the access log that could not be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolMember:
    """One notebook behind a pool's URL."""

    id: str
    """Random id; each of its responses has it as ``X-Avocado-Member``."""
    models: tuple[str, ...] = ()
    """Models that it serves."""
    seen_s: float | None = None
    """Seconds since it last sent or answered a probe; None before the first."""
    is_self: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A snapshot of the service, with the sequence number of the last event."""

    sequence: int = 0
    rehearsal: bool = False
    version: str = ""
    """Package version of the daemon."""
    protocol: int = PROTOCOL
    pid: int = 0
    uptime_s: float = 0.0
    url: str = ""
    """Public URL; empty before the probe succeeds and under ``--local``."""
    local_url: str = ""
    api_key: str = ""
    """The owner's key; empty under ``--no-auth``."""
    key_is_generated: bool = False
    hide_key: bool = False
    path_key: bool = False
    engine: str = ""
    """Name and version of the engine, such as ``Ollama 0.34.1``."""
    compute: str = ""
    """Hardware that the engine uses, such as ``NVIDIA T4, 15.8 GB`` or ``CPU``."""
    warnings: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    models: tuple[ModelState, ...] = ()
    keys: tuple[ApiKeyState, ...] = ()
    """The owner's key first, then the named keys."""
    members: tuple[PoolMember, ...] = ()
    """Members of the pool, this one first; empty without ``--pool``."""
    requests: int = 0
    """Requests with a valid key, without probes."""
    refused: int = 0
    """Refused requests: no key, wrong key, closed route, foreign origin."""
    bytes_out: int = 0
    traffic: TrafficStats = TrafficStats()
    metrics_url: str = ""
    """URL of the metrics for a scraper; empty while no metrics port is open."""
    metrics_token: str = ""
    """Bearer token of the scraper; empty without ``--metrics-port``."""
    ends_in_s: float | None = None
    """Seconds until ``--ttl`` ends the daemon."""
    log_path: str = ""

    def stage(self, name: str) -> Stage:
        """Return the stage with this name.

        Raises:
            KeyError: If no stage has it.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise KeyError(name)

    def component(self, name: str) -> Phase:
        """Return a component's phase: the worst one among its stages."""
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
        """The engine and its hardware, such as ``Ollama 0.34.1 on CPU``."""
        return f"{self.engine} on {self.compute}" if self.engine else "(none yet)"

    @property
    def is_ready(self) -> bool:
        """Whether every requested stage and model is ready."""
        done = (Phase.READY, Phase.OFF)
        return (
            bool(self.stages)
            and all(stage.phase in done for stage in self.stages)
            and all(model.phase is Phase.READY for model in self.models)
        )

    @property
    def failure(self) -> Failure | None:
        """The first failure among failed models and stages, or None."""
        parts: tuple[ModelState | Stage, ...] = (*self.models, *self.stages)
        for part in parts:
            if part.phase is Phase.FAILED and part.failure is not None:
                return part.failure
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One transition; the daemon keeps the last 1,000."""

    sequence: int
    at_s: float
    """Seconds since the epoch, by the daemon's clock."""
    component: str
    stage: str
    phase: Phase
    text: str
