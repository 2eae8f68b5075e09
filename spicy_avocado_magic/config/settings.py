"""Everything a user can ask for, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Self

from ..errors import UsageError
from ..protocol.pool import require_for_pool
from . import limits
from .api_keys import ApiKey
from .model_name import ModelName
from .tunnel import TUNNEL
from .validators import validate_model

ENGINE_VARIABLES: Final = frozenset(
    {
        "OLLAMA_CONTEXT_LENGTH",
        "OLLAMA_DEBUG",
        "OLLAMA_FLASH_ATTENTION",
        "OLLAMA_GPU_OVERHEAD",
        "OLLAMA_KEEP_ALIVE",
        "OLLAMA_KV_CACHE_TYPE",
        "OLLAMA_LLM_LIBRARY",
        "OLLAMA_LOAD_TIMEOUT",
        "OLLAMA_MAX_LOADED_MODELS",
        "OLLAMA_MAX_QUEUE",
        "OLLAMA_MULTIUSER_CACHE",
        "OLLAMA_NEW_ENGINE",
        "OLLAMA_NOHISTORY",
        "OLLAMA_NUM_PARALLEL",
        "OLLAMA_SCHED_SPREAD",
    }
)
"""What may be passed to the engine (``envconfig/config.go`` in ollama/ollama)."""

ENGINE_VARIABLES_OURS: Final = {
    "OLLAMA_HOST": "use --port for the gateway; the engine stays on loopback",
    "OLLAMA_MODELS": "use --models-dir DIR",
    "OLLAMA_ORIGINS": "the gateway answers browsers itself",
    "OLLAMA_NO_CLOUD": "cloud models are switched off: they act as your account",
    "OLLAMA_NOPRUNE": "half-fetched models are always kept, so that they resume",
    "OLLAMA_REMOTES": "cloud models are switched off: they act as your account",
    "OLLAMA_DEBUG_LOG_REQUESTS": "it would write your users' prompts to disk",
}
"""Variables that a user may not set, with what to do instead."""

RESTARTS_COMPONENTS: Final[Mapping[str, frozenset[str]]] = {
    "models": frozenset({"models"}),
    "token": frozenset({"tunnel"}),
    "domain": frozenset({"tunnel"}),
    "pool": frozenset({"tunnel"}),
    "no_auth": frozenset({"tunnel"}),
    "path_key": frozenset({"tunnel"}),
    "local": frozenset({"tunnel"}),
    "port": frozenset({"gateway", "tunnel"}),
    "context": frozenset({"engine"}),
    "keep_alive": frozenset({"engine"}),
    "models_dir": frozenset({"engine", "models"}),
    "ollama_version": frozenset({"engine"}),
    "engine_env": frozenset({"engine"}),
}
"""Which components start a new life when a setting changes; others are live."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where archives, models and the tunnel come from; a rehearsal points elsewhere."""

    rehearsal: bool = False
    releases_url: str = "https://github.com/ollama/ollama/releases"
    """``<releases_url>/download/v<version>/<asset>``."""
    registry: str = ""
    """Host that answers for names without one; empty is the engine's default."""
    tunnel: str = TUNNEL.name
    """Provider of the public URL, by its name in ``tunnel.registry``."""
    tunnel_program: str = field(default="", metadata={"json": "ngrok_path"})
    """Program of the provider; empty is the one that it installs."""
    edge_address: str = ""
    """``host:port`` the tunnel connects to; empty is the real service."""
    engine_path: str = ""
    """Engine to use as it is; empty searches PATH, then installs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is wanted; made from the options given and the values that run."""

    models: tuple[str, ...] = ()
    token: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    key_is_generated: bool = False
    hide_key: bool = False
    no_auth: bool = False
    path_key: bool = False
    manage: bool = False
    keys: tuple[ApiKey, ...] = field(default=(), repr=False)
    """Those given to others."""
    any_model: bool = False
    """Serve all that is installed, not only ``models``."""
    registries: tuple[str, ...] = ()
    """Where a key that may manage pulls from, besides the usual places."""
    cors: tuple[str, ...] = ()
    """Origins of web pages that may send requests; ``*`` is any."""
    limits: limits.LimitOverrides = ()
    metrics_port: str = ""
    """``address:port`` for a scraper; empty is none."""
    metrics_token: str = field(default="", repr=False)
    domain: str = ""
    pool: bool = False
    local: bool = False
    port: int = 0
    """Of the gateway on loopback; 0 is any free one."""
    context: int = 0
    """Tokens; 0 is the engine's default."""
    keep_alive: str = ""
    """How long a model stays loaded; empty is for ever."""
    models_dir: str = ""
    ollama_version: str = ""
    """``X.Y.Z``, ``latest``, or empty for the tested default."""
    ttl_s: float = 0.0
    """Seconds until the host ends itself; 0 is never."""
    detach: bool = False
    engine_env: tuple[tuple[str, str], ...] = ()
    sources: Endpoints = Endpoints()

    def merged(self, given: Mapping[str, Any], *, only: bool = False) -> Self:
        """Return these settings with what was given, by the rules of ``up``.

        A given option replaces the value; one not given keeps it, unless the two
        exclude each other: then the given one wins. Models are
        added to those wanted, engine variables to those set; with ``only`` the
        models given are the exact list.

        Raises:
            UsageError: If a value cannot be right.
        """
        given = dict(given)
        models = tuple(validate_model(name) for name in given.pop("models", ()))
        if not only:
            models = (*self.models, *models)
        seen = {ModelName.parse(name).key: name for name in reversed(models)}
        ordered = tuple(dict.fromkeys(seen[ModelName.parse(m).key] for m in models))
        variables = dict(self.engine_env) | dict(given.pop("engine_env", ()))
        if "api_key" in given:
            given["key_is_generated"] = False
        yielding: dict[str, Any] = {
            other: "" if other == "domain" else False
            for other in settings_overridden_by(given)
        }
        kept = replace(self, **yielding)
        merged = replace(
            kept,
            models=ordered,
            engine_env=tuple(sorted(variables.items())),
            **given,
        )
        merged.check()
        return merged

    def check(self) -> None:
        """Raise UsageError for values that contradict each other, or lack one."""
        if self.local and self.domain:
            raise UsageError(
                "--local opens no tunnel, so --domain has no use.",
                "Leave one of the two out.",
            )
        if any(key.secret == self.api_key for key in self.keys):
            raise UsageError(
                "This --api-key is a named key already, which somebody else has.",
                "Choose another one.",
            )
        if self.no_auth and self.manage:
            raise UsageError(
                "--manage would let anybody delete and replace your models.",
                "Leave --no-auth or --manage out.",
            )
        if self.no_auth and self.path_key:
            raise UsageError(
                "--path-key has no use without a key.",
                "Leave --no-auth or --path-key out.",
            )
        if self.pool:
            is_own = not (self.key_is_generated or self.no_auth)
            require_for_pool(self.domain, self.api_key if is_own else "")

    def changed_components(self, other: Settings) -> frozenset[str]:
        """Return the components that must start a new life to become ``other``."""
        differing = self.differences(other)
        if other.pool and "api_key" in differing:  # by it members prove themselves
            differing |= {"pool"}
        return frozenset().union(
            *(RESTARTS_COMPONENTS.get(name, ()) for name in differing)
        )

    def differences(self, other: Settings) -> frozenset[str]:
        """Return the names of the settings in which the two differ.

        Who made the key is none that anybody sets.
        """
        names = (part.name for part in fields(self) if part.name != "key_is_generated")
        return frozenset(x for x in names if getattr(self, x) != getattr(other, x))


_EXCLUDES: Final[Mapping[str, tuple[str, ...]]] = {
    "local": ("domain", "pool"),
    "domain": ("local",),
    "pool": ("local", "no_auth"),
    "no_auth": ("manage", "path_key", "pool"),
    "manage": ("no_auth",),
    "path_key": ("no_auth",),
}
"""Settings that a given one switches off, unless they are given as well."""


def settings_overridden_by(given: Mapping[str, Any]) -> frozenset[str]:
    """Return the settings that yield to those given, and are not given themselves."""
    return frozenset(
        other
        for name, others in _EXCLUDES.items()
        for other in others
        if given.get(name) and other not in given
    )
