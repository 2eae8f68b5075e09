"""The table of options of ``up``: line, cell body, Python, ``%config`` and help."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import UsageError
from ..formatting import did_you_mean
from . import validators as rules
from .limits import NAMES as LIMIT_NAMES
from .limits import parse_limits
from .tunnel import TUNNEL

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
"""Passed to the engine as they are (``envconfig/config.go`` in ollama/ollama)."""

ENGINE_VARIABLES_OURS: Final = {
    "OLLAMA_HOST": "use --port for the gateway; the engine stays on loopback",
    "OLLAMA_MODELS": "use --models-dir DIR",
    "OLLAMA_ORIGINS": "the gateway answers browsers itself",
    "OLLAMA_NO_CLOUD": "cloud models are switched off: they act as your account",
    "OLLAMA_NOPRUNE": "half-fetched models are always kept, so that they resume",
    "OLLAMA_REMOTES": "cloud models are switched off: they act as your account",
    "OLLAMA_DEBUG_LOG_REQUESTS": "it would write your users' prompts to disk",
}
"""Variables that a user may not set, with the reason or what to use instead."""


def parse_flag(text: str) -> bool:
    """Return the boolean in ``true``, ``1``, ``yes``, ``on`` or their opposites."""
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    try:
        return words[text.strip().lower()]
    except KeyError:
        raise UsageError(
            f"{text!r} is neither true nor false.", "Use true or false."
        ) from None


def parse_text(text: str) -> str:
    """Return a text as it is.

    Raises:
        UsageError: If it is empty.
    """
    if text:
        return text
    raise UsageError("An option has an empty value.", "Give it one or leave it out.")


def parse_folder(text: str) -> str:
    """Return an absolute path, with ``~`` expanded."""
    return str(Path(parse_text(text)).expanduser().absolute())


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a command, in all its spellings."""

    name: str
    """Of the field of ``Settings``, or of ``UpRequest``."""
    help: str
    parse: Callable[[str], Any] = parse_text
    metavar: str = ""
    """Empty for a flag."""
    is_secret: bool = False
    repeats: bool = False
    """Whether it may be given several times, with the meaning of a list."""
    restarts: tuple[str, ...] | None = None
    """Components that restart when the setting changes; an empty tuple applies it
    live. None marks an option that is no setting, but steers this call alone."""
    excludes: tuple[str, ...] = ()
    """Settings that go back to their defaults when this one is given without them."""
    engine_variable: str = ""
    """The ``OLLAMA_…`` variable that it sets; the option wins over ``engine_env``."""

    @property
    def is_setting(self) -> bool:
        """Whether its value is stored; else it steers this call alone."""
        return self.restarts is not None

    @property
    def python_name(self) -> str:
        """Its name as an argument of ``up()``."""
        singular = {"registries": "registry", "limits": "limit"}
        return singular.get(self.name, self.name.removesuffix("_s"))

    @property
    def flag(self) -> str:
        """Its spelling on the line."""
        dashes = "-" if len(self.name) == 1 else "--"
        return dashes + self.python_name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its spelling in the cell body, or in the environment."""
        named = {
            "token": TUNNEL.credential.variable,
            "domain": TUNNEL.domain_variable,
        }
        return named.get(self.name, self.environment_variable)

    @property
    def environment_variable(self) -> str:
        """``AVOCADO_<OPTION>``, which every option has."""
        return "AVOCADO_" + self.python_name.upper()

    @property
    def is_flag(self) -> bool:
        """Whether it takes no value on the line."""
        return not self.metavar


def _flag(
    name: str,
    text: str,
    *,
    restarts: tuple[str, ...] | None = None,
    excludes: tuple[str, ...] = (),
) -> Option:
    return Option(
        name=name, help=text, parse=parse_flag, restarts=restarts, excludes=excludes
    )


OPTIONS: Final[tuple[Option, ...]] = (
    Option(
        name="token",
        metavar="TOKEN",
        is_secret=True,
        restarts=("tunnel",),
        help=f"{TUNNEL.name} {TUNNEL.credential.name}, best as $NAME of a notebook "
        "variable, environment variable or secret; by default "
        f"{TUNNEL.credential.variable} from those places",
    ),
    Option(
        name="api_key",
        metavar="KEY",
        parse=rules.validate_key,
        is_secret=True,
        restarts=(),
        help="key that clients must send; by default one is generated",
    ),
    _flag("hide_key", "do not show the generated key", restarts=()),
    _flag(
        "no_auth",
        "serve without a key: anybody with the URL can use it",
        restarts=("tunnel",),
        excludes=("manage", "path_key", "pool"),
    ),
    Option(
        name="domain",
        metavar="HOST",
        parse=rules.validate_domain,
        restarts=("tunnel",),
        excludes=("local",),
        help=f"your own {TUNNEL.name} domain; by default your account's fixed one",
    ),
    _flag(
        "pool",
        "share the --domain with other notebooks that pool too and have the same "
        "--api-key",
        restarts=("tunnel",),
        excludes=("local", "no_auth"),
    ),
    _flag(
        "local",
        "no tunnel: serve on this machine only",
        restarts=("tunnel",),
        excludes=("domain", "pool"),
    ),
    _flag(
        "path_key",
        "also accept URL/KEY/…, for clients that send no headers",
        restarts=("tunnel",),
        excludes=("no_auth",),
    ),
    _flag(
        "manage",
        "let the key pull, create, copy and delete models",
        restarts=(),
        excludes=("no_auth",),
    ),
    _flag(
        "any_model",
        "serve every model that is installed, not only those named",
        restarts=(),
    ),
    Option(
        name="registries",
        metavar="HOST",
        parse=rules.parse_registries,
        repeats=True,
        restarts=(),
        help="with --manage: also pull from and push to this registry",
    ),
    Option(
        name="cors",
        metavar="ORIGIN",
        parse=rules.parse_origins,
        repeats=True,
        restarts=(),
        help="web pages that may send requests, such as https://app.example, or *; "
        "by default none",
    ),
    Option(
        name="limits",
        metavar="NAME=VALUE",
        parse=parse_limits,
        repeats=True,
        restarts=(),
        help="limits of the gateway, such as body=32MB or rpm=60: "
        + ", ".join(LIMIT_NAMES),
    ),
    Option(
        name="metrics_port",
        metavar="N",
        parse=rules.validate_address,
        restarts=(),
        help="OpenMetrics for a scraper on this port of loopback, or ADDRESS:PORT; "
        "with a token of its own; none closes it",
    ),
    _flag("only", "serve exactly the models given"),
    Option(
        name="port",
        metavar="N",
        parse=rules.validate_port,
        restarts=("gateway", "tunnel"),
        help="port of the gateway on this machine; by default a free one",
    ),
    Option(
        name="context",
        metavar="N",
        parse=rules.validate_context,
        restarts=("engine",),
        engine_variable="OLLAMA_CONTEXT_LENGTH",
        help="context length in tokens; by default the engine chooses by VRAM",
    ),
    Option(
        name="keep_alive",
        metavar="D",
        parse=rules.validate_keep_alive,
        restarts=("engine",),
        engine_variable="OLLAMA_KEEP_ALIVE",
        help="how long an idle model stays loaded, such as 30m; by default for ever",
    ),
    Option(
        name="models_dir",
        metavar="DIR",
        parse=parse_folder,
        restarts=("engine", "models"),
        help="where models are kept, such as a mounted drive",
    ),
    Option(
        name="ollama_version",
        metavar="X.Y.Z|latest",
        parse=rules.validate_version,
        restarts=("engine",),
        help=f"Ollama release to install; by default {rules.OLLAMA_VERSION}, or the "
        "ollama on PATH",
    ),
    Option(
        name="ttl_s",
        metavar="2h",
        parse=rules.parse_duration_s,
        restarts=(),
        help="stop the service after this long",
    ),
    _flag("detach", "keep running after the notebook server has gone", restarts=()),
    _flag("background", "return at once and start in the background"),
    _flag("restart", "stop the service and start it again, with the same key"),
    _flag("rehearse", "run all of it on this machine: no account, no network, no GPU"),
)

OPTION_BY_NAME: Final = {option.python_name: option for option in OPTIONS}
_BY_VARIABLE: Final = {
    name: option
    for option in OPTIONS
    for name in (option.variable, option.environment_variable)
}


def settings_overridden_by(given: Mapping[str, Any]) -> frozenset[str]:
    """Return the settings that those given exclude, unless they are given as well."""
    return frozenset(
        excluded
        for option in OPTIONS
        for excluded in option.excludes
        if given.get(option.name) and excluded not in given
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpRequest:
    """One parsed ``up``: the settings given, and the options of the call alone."""

    given: Mapping[str, Any]
    only: bool = False
    background: bool = False
    restart: bool = False
    rehearse: bool = False


def build_up_request(parsed: Mapping[str, Any]) -> UpRequest:
    """Separate the settings among parsed options from those of the call alone."""
    switches = {o.name for o in OPTIONS if not o.is_setting}
    return UpRequest(
        given={name: v for name, v in parsed.items() if name not in switches},
        **{name: bool(parsed[name]) for name in switches if name in parsed},
    )


def parse_variables(variables: Mapping[str, str | None]) -> dict[str, Any]:
    """Parse the ``KEY=value`` lines of a cell body.

    Returns:
        Parsed options by name; variables of the engine under ``engine_env``,
        ``AVOCADO_MODEL`` under ``models``.

    Raises:
        UsageError: For the first unknown or misused key, with the closest match.
    """
    parsed: dict[str, Any] = {}
    engine: dict[str, str] = {}
    for key, value in variables.items():
        if value is None:
            raise UsageError(f"{key} has no value.", f"Write {key}=value.")
        if key in _BY_VARIABLE:
            option = _BY_VARIABLE[key]
            parsed[option.name] = option.parse(value)
        elif key in ENGINE_VARIABLES:
            engine[key] = value
        elif key in ("AVOCADO_MODEL", "AVOCADO_MODELS"):
            parsed["models"] = tuple(value.replace(",", " ").split())
        else:
            raise _unknown_key(key)
    if engine:
        parsed["engine_env"] = tuple(engine.items())
    return parsed


def _unknown_key(key: str) -> UsageError:
    if key in ENGINE_VARIABLES_OURS:
        reason = ENGINE_VARIABLES_OURS[key]
        return UsageError(
            f"{key} cannot be set here: {reason}.", f"Remove the line {key}=…"
        )
    known = [*_BY_VARIABLE, *ENGINE_VARIABLES, "AVOCADO_MODEL"]
    remedy = did_you_mean(key.upper(), known, "See %avocado_up --help.")
    return UsageError(f"{key} is not a known setting.", remedy)
