"""The desired state: every setting of the service, as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Self

from ..errors import UsageError
from ..protocol.pool import require_for_pool
from . import limits
from .api_keys import ApiKey
from .model_name import unique_models
from .options import OPTIONS, settings_overridden_by
from .tunnel import TUNNEL
from .validators import validate_model

RESTARTS_COMPONENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "models": ("models",),
    "engine_env": ("engine",),
} | {option.name: option.restarts for option in OPTIONS if option.restarts}
"""Which components restart when a setting changes; the others change live."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """URLs and program paths of the outside world; a rehearsal replaces them."""

    rehearsal: bool = False
    releases_url: str = "https://github.com/ollama/ollama/releases"
    """``<releases_url>/download/v<version>/<asset>``."""
    registry: str = ""
    """Host of models named without one; empty is the engine's default."""
    tunnel: str = TUNNEL.name
    """Provider of the public URL, by its name in ``tunnel.registry``."""
    tunnel_program: str = field(default="", metadata={"json": "ngrok_path"})
    """Program of the provider; empty is the one that it installs."""
    edge_address: str = ""
    """``host:port`` the tunnel connects to; empty is the real service."""
    engine_path: str = ""
    """Engine to use; empty searches PATH, then installs a release."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of the service: the options given, merged into the running values."""

    models: tuple[str, ...] = ()
    token: str = field(default="", repr=False)
    api_key: str = field(default="", repr=False)
    key_is_generated: bool = False
    hide_key: bool = False
    no_auth: bool = False
    path_key: bool = False
    manage: bool = False
    keys: tuple[ApiKey, ...] = field(default=(), repr=False)
    """Named keys of other people."""
    any_model: bool = False
    """Serve all installed models, not only ``models``."""
    registries: tuple[str, ...] = ()
    """From which ``manage`` may pull, beside Ollama's and Hugging Face's."""
    cors: tuple[str, ...] = ()
    """Origins of web pages that may send requests; ``*`` allows any."""
    limits: limits.LimitOverrides = ()
    metrics_port: str = ""
    """``address:port`` for a scraper; empty is none."""
    metrics_token: str = field(default="", repr=False)
    domain: str = ""
    pool: bool = False
    local: bool = False
    port: int = 0
    """Of the gateway on loopback; 0 is any free port."""
    context: int = 0
    """Tokens; 0 is the engine's default."""
    keep_alive: str = ""
    """How long a model stays loaded; empty is for ever."""
    models_dir: str = ""
    ollama_version: str = ""
    """``X.Y.Z``, ``latest``, or empty for the tested default."""
    ttl_s: float = 0.0
    """Seconds until the daemon ends itself; 0 is never."""
    detach: bool = False
    engine_env: tuple[tuple[str, str], ...] = ()
    sources: Endpoints = Endpoints()

    def merged(self, given: Mapping[str, Any], *, only: bool = False) -> Self:
        """Return these settings with the given ones, by the rules of ``up``.

        A given setting replaces the value. One that is not given keeps its value,
        unless a given one excludes it: then it goes back to its default. Models and
        engine variables are added; with ``only`` the models given are the exact list.

        Raises:
            UsageError: If a value is not valid, or two contradict each other.
        """
        given = dict(given)
        models = [validate_model(name) for name in given.pop("models", ())]
        variables = dict(self.engine_env) | dict(given.pop("engine_env", ()))
        if "api_key" in given:
            given["key_is_generated"] = False
        defaults = type(self)()
        overridden = {n: getattr(defaults, n) for n in settings_overridden_by(given)}
        merged = replace(
            replace(self, **overridden),
            models=unique_models(models if only else (*self.models, *models)),
            engine_env=tuple(sorted(variables.items())),
            **given,
        )
        merged.check()
        return merged

    def engine_variables(self) -> dict[str, str]:
        """Return the engine's ``OLLAMA_…`` variables; options win over ``engine_env``.

        An option at its default sets none.
        """
        by_option = {
            option.engine_variable: str(getattr(self, option.name))
            for option in OPTIONS
            if option.engine_variable and getattr(self, option.name)
        }
        return dict(self.engine_env) | by_option

    def check(self) -> None:
        """Check that no two settings contradict each other.

        Raises:
            UsageError: For the first contradiction, with the options to leave out.
        """
        if self.local and self.domain:
            raise UsageError(
                "--local opens no tunnel, so --domain has no effect.",
                "Leave --local or --domain out.",
            )
        if any(key.secret == self.api_key for key in self.keys):
            raise UsageError(
                "This --api-key is already a named key, which somebody else has.",
                "Choose another key.",
            )
        if self.no_auth and self.manage:
            raise UsageError(
                "--manage would let anybody delete and replace your models.",
                "Leave --no-auth or --manage out.",
            )
        if self.no_auth and self.path_key:
            raise UsageError(
                "--path-key has no effect without a key.",
                "Leave --no-auth or --path-key out.",
            )
        if self.pool:
            is_own = not (self.key_is_generated or self.no_auth)
            require_for_pool(self.domain, self.api_key if is_own else "")

    def changed_components(self, other: Settings) -> frozenset[str]:
        """Return the components that must restart to apply ``other``."""
        differing = self.differences(other)
        if other.pool and "api_key" in differing:  # members authenticate with it
            differing |= {"pool"}
        return frozenset().union(
            *(RESTARTS_COMPONENTS.get(name, ()) for name in differing)
        )

    def differences(self, other: Settings) -> frozenset[str]:
        """Return the names of the settings in which the two differ.

        ``key_is_generated`` is left out: nobody sets it.
        """
        names = (part.name for part in fields(self) if part.name != "key_is_generated")
        return frozenset(x for x in names if getattr(self, x) != getattr(other, x))
