"""The one table of options: it feeds the line, the cell body, Python and the help."""

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
from .settings import ENGINE_VARIABLES, ENGINE_VARIABLES_OURS
from .tunnel import TUNNEL


def parse_flag(text: str) -> bool:
    """Return the truth in ``true``, ``1``, ``yes``, ``on`` and their opposites."""
    words = {"true": True, "1": True, "yes": True, "on": True}
    words |= {"false": False, "0": False, "no": False, "off": False}
    try:
        return words[text.strip().lower()]
    except KeyError:
        raise UsageError(
            f"{text!r} is neither true nor false.", "Use true or false."
        ) from None


def parse_text(text: str) -> str:
    """Return a text as it is; empty ones are a mistake."""
    if text:
        return text
    raise UsageError("An option has an empty value.", "Give it one or leave it out.")


def parse_folder(text: str) -> str:
    """Return an absolute folder, with ``~`` resolved."""
    return str(Path(parse_text(text)).expanduser().absolute())


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One thing that can be asked for besides models."""

    name: str
    """Of the setting, or of the call's own switch."""
    help: str
    parse: Callable[[str], Any] = parse_text
    metavar: str = ""
    """Empty for a flag."""
    is_secret: bool = False
    repeats: bool = False
    """Whether it may be given several times; the same as once with commas."""
    is_setting: bool = True
    """False for what steers this call alone."""

    @property
    def python_name(self) -> str:
        """As an argument of ``up()``."""
        singular = {"registries": "registry", "limits": "limit"}
        return singular.get(self.name, self.name.removesuffix("_s"))

    @property
    def flag(self) -> str:
        """As typed on the line."""
        dashes = "-" if len(self.name) == 1 else "--"
        return dashes + self.python_name.replace("_", "-")

    @property
    def variable(self) -> str:
        """As a line of the cell body, or in the environment."""
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
        """Whether it stands without a value."""
        return not self.metavar


def _flag(name: str, text: str, *, is_setting: bool = True) -> Option:
    return Option(name=name, help=text, parse=parse_flag, is_setting=is_setting)


OPTIONS: Final[tuple[Option, ...]] = (
    Option(
        name="token",
        metavar="TOKEN",
        is_secret=True,
        help=f"{TUNNEL.name} {TUNNEL.credential.name}, best as $NAME of a notebook "
        "variable, environment variable or secret; by default "
        f"{TUNNEL.credential.variable} from those places",
    ),
    Option(
        name="api_key",
        metavar="KEY",
        parse=rules.validate_key,
        is_secret=True,
        help="key that clients must send; by default one is made",
    ),
    _flag("hide_key", "do not show the key that was made"),
    _flag("no_auth", "serve without a key: anybody with the URL can use it"),
    Option(
        name="domain",
        metavar="HOST",
        parse=rules.validate_domain,
        help=f"your own {TUNNEL.name} domain; by default your account's fixed one",
    ),
    _flag(
        "pool",
        "share the --domain with other notebooks that pool too and have the same "
        "--api-key",
    ),
    _flag("local", "no tunnel: serve on this machine only"),
    _flag("path_key", "also accept URL/KEY/…, for clients that send no headers"),
    _flag("manage", "let the key pull, create, copy and delete models"),
    _flag("any_model", "serve every model that is installed, not only those named"),
    Option(
        name="registries",
        metavar="HOST",
        parse=rules.parse_registries,
        repeats=True,
        help="with --manage: also pull from and push to this registry",
    ),
    Option(
        name="cors",
        metavar="ORIGIN",
        parse=rules.parse_origins,
        repeats=True,
        help="web pages that may send requests, such as https://app.example, or *; "
        "by default none",
    ),
    Option(
        name="limits",
        metavar="NAME=VALUE",
        parse=parse_limits,
        repeats=True,
        help="bounds of the gateway, such as body=32MB or rpm=60: "
        + ", ".join(LIMIT_NAMES),
    ),
    Option(
        name="metrics_port",
        metavar="N",
        parse=rules.validate_address,
        help="OpenMetrics for a scraper on this port of loopback, or ADDRESS:PORT; "
        "with a token of its own; none closes it",
    ),
    _flag("only", "serve exactly the models given", is_setting=False),
    Option(
        name="port",
        metavar="N",
        parse=rules.validate_port,
        help="port of the gateway on this machine; by default a free one",
    ),
    Option(
        name="context",
        metavar="N",
        parse=rules.validate_context,
        help="context length in tokens; by default the engine chooses by VRAM",
    ),
    Option(
        name="keep_alive",
        metavar="D",
        parse=rules.validate_keep_alive,
        help="how long an idle model stays loaded, such as 30m; by default for ever",
    ),
    Option(
        name="models_dir",
        metavar="DIR",
        parse=parse_folder,
        help="where models are kept, such as a mounted drive",
    ),
    Option(
        name="ollama_version",
        metavar="X.Y.Z|latest",
        parse=rules.validate_version,
        help=f"Ollama release to install; by default {rules.OLLAMA_VERSION}, or the "
        "ollama on PATH",
    ),
    Option(
        name="ttl_s",
        metavar="2h",
        parse=rules.parse_duration_s,
        help="end by itself after this long",
    ),
    _flag("detach", "live on after the notebook server has gone"),
    _flag("background", "return at once and start in the background", is_setting=False),
    _flag("restart", "end what runs and start it anew, same key", is_setting=False),
    _flag(
        "rehearse",
        "run all of it on this machine: no account, no network, no GPU",
        is_setting=False,
    ),
)

OPTION_BY_NAME: Final = {option.python_name: option for option in OPTIONS}
_BY_VARIABLE: Final = {
    name: option
    for option in OPTIONS
    for name in {option.variable, option.environment_variable}
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpRequest:
    """What one ``up`` was asked for: settings given, and how to go about it."""

    given: Mapping[str, Any]
    only: bool = False
    background: bool = False
    restart: bool = False
    rehearse: bool = False


def build_up_request(parsed: Mapping[str, Any]) -> UpRequest:
    """Split parsed options into settings and the call's own switches."""
    switches = {o.name for o in OPTIONS if not o.is_setting}
    return UpRequest(
        given={name: v for name, v in parsed.items() if name not in switches},
        **{name: bool(parsed[name]) for name in switches if name in parsed},
    )


def parse_variables(variables: Mapping[str, str | None]) -> dict[str, Any]:
    """Read ``KEY=value`` pairs of a cell body.

    Returns:
        Parsed options by name; variables of the engine under ``engine_env``,
        ``AVOCADO_MODEL`` under ``models``.

    Raises:
        UsageError: With the first unknown or misused key, and the nearest known.
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
        instead = ENGINE_VARIABLES_OURS[key]
        return UsageError(
            f"{key} cannot be set here: {instead}.", f"Remove the line {key}=…"
        )
    known = [*_BY_VARIABLE, *ENGINE_VARIABLES, "AVOCADO_MODEL"]
    hint = did_you_mean(key.upper(), known, "See %avocado_up --help.")
    return UsageError(f"{key} is not a known setting.", hint)
