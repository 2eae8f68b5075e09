"""The magics as values: which options each takes, and its help."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Final

from ...config.api_key_options import KEY_OPTIONS
from ...config.options import OPTIONS, Option, parse_flag, parse_folder
from ...errors import UsageError

_COLUMN: Final = 32
_WIDTH: Final = 88


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """One magic: what it is called, what it takes and what it is for."""

    name: str
    summary: str
    options: tuple[Option, ...]
    examples: tuple[str, ...]
    words: str = ""
    """Which words it takes, as the help shows them."""
    notes: str = ""
    is_cell: bool = False
    """Whether it takes the body of a cell, and is nothing without it."""

    @property
    def option_by_flag(self) -> dict[str, Option]:
        """Its options as they are typed."""
        return {option.flag: option for option in self.options}

    def help(self) -> str:
        """Return what ``--help`` prints and ``%name?`` shows."""
        words = f" {self.words}" if self.words else ""
        sign = "%%" if self.is_cell else "%"
        lines = [self.summary, "", f"    {sign}{self.name}{words} [options]", ""]
        for option in self.options:
            head = f"  {option.flag} {option.metavar}".rstrip()
            lines += _columns(head, option.help)
        lines += _columns("  --help", "show this")
        lines += [
            "",
            "Examples:",
            "",
            *(f"    {line}".rstrip() for line in self.examples),
        ]
        if self.notes:
            lines += ["", *textwrap.wrap(self.notes, _WIDTH)]
        return "\n".join(lines) + "\n"


def _columns(head: str, text: str) -> list[str]:
    wrapped = textwrap.wrap(text, _WIDTH - _COLUMN)
    first, *more = wrapped
    return [f"{head:<{_COLUMN}}{first}", *(" " * _COLUMN + line for line in more)]


def parse_count(text: str) -> int:
    """Return how many lines are wanted.

    Raises:
        UsageError: If that is no number.
    """
    if text.isascii() and text.isdigit():
        return int(text)
    raise UsageError(f"{text!r} is no number of lines.", "Write -n 20.")


_REHEARSE: Final = Option(
    name="rehearse",
    help="look at a rehearsal only, never at a real service",
    parse=parse_flag,
)

UP: Final = CommandSpec(
    name="avocado_up",
    summary="Bring up a public, authenticated URL for your own Ollama models.",
    options=OPTIONS,
    words="[MODEL …]",
    examples=(
        "%avocado_up llama3 --token $NGROK",
        "%avocado_up $MODEL --context 8192 --ttl 2h",
        "%avocado_up tiny --rehearse",
        "",
        "%%avocado_up qwen3:8b",
        "NGROK_AUTHTOKEN=$NGROK",
        "OLLAMA_NUM_PARALLEL=4",
    ),
    notes="The same again changes nothing; an option that is given becomes the wanted "
    "value, one that is not keeps its value, and models are added. A flag is undone "
    "with =false. $NAME is a notebook variable, an environment variable or a secret "
    "of the platform. The body of a cell takes NGROK_AUTHTOKEN, NGROK_DOMAIN, "
    "AVOCADO_<OPTION> and the engine's OLLAMA_… variables; the line wins over the "
    "body, the body over defaults, which %config AvocadoMagics.<option> = … sets, and "
    "those over AVOCADO_<OPTION> of the environment.",
)
STATUS: Final = CommandSpec(
    name="avocado_status",
    summary="Show every part of the running service, its URL, models and requests.",
    options=(
        Option(
            name="watch",
            help="keep it up to date in place, until interrupted",
            parse=parse_flag,
        ),
        Option(
            name="json",
            help="return it as a dict instead",
            parse=parse_flag,
        ),
        _REHEARSE,
    ),
    examples=(
        "%avocado_status",
        "%avocado_status --watch",
        "facts = %avocado_status --json",
    ),
)
DOWN: Final = CommandSpec(
    name="avocado_down",
    summary="End everything that Spicy Avocado started, and make sure of it.",
    options=(
        Option(
            name="purge",
            help="also remove the Ollama releases that were installed; models stay",
            parse=parse_flag,
        ),
        _REHEARSE,
    ),
    examples=("%avocado_down", "%avocado_down --purge"),
)
LOGS: Final = CommandSpec(
    name="avocado_logs",
    summary="Show what happened, and what engine and agent said, the latest last.",
    words="[component]",
    options=(
        Option(
            name="n",
            metavar="N",
            help="how many lines; by default 100",
            parse=parse_count,
        ),
        Option(
            name="follow",
            help="show new lines as they come, until interrupted",
            parse=parse_flag,
        ),
        _REHEARSE,
    ),
    examples=(
        "%avocado_logs",
        "%avocado_logs engine -n 20",
        "%avocado_logs tunnel --follow",
    ),
    notes="Components are host, engine, models, gateway, tunnel and rehearsal. Lines "
    "of all logs are merged by time; #4 is an event's number, which others name as "
    "their cause. No service has to run: the logs stay until %avocado_down.",
)
KEYS: Final = CommandSpec(
    name="avocado_keys",
    summary="List the keys of the running service; give one to somebody, take it back.",
    words="[add NAME | revoke NAME]",
    options=(*KEY_OPTIONS, _REHEARSE),
    examples=(
        "%avocado_keys",
        "%avocado_keys add ann --rpm 60 --tokens 100000 --expires 2h",
        "%avocado_keys add bob --models llama3,qwen3:8b",
        "%avocado_keys revoke ann",
    ),
    notes="A new key is shown in full once. It holds at once and until %avocado_down, "
    "the URL stays as it is, and what is open with a key that is taken back ends. "
    "--tokens counts over the key's lifetime: a stream is ended at the bound, while a "
    "prompt and an answer in one piece count once they are there, so may go beyond. "
    "Under --pool a key opens this notebook alone. "
    "$NAME is a notebook variable, an environment variable or a platform's secret.",
)
DOCTOR: Final = CommandSpec(
    name="avocado_doctor",
    summary="Check everything that can be wrong; say what to do about it.",
    options=(
        Option(
            name="report",
            metavar="FILE",
            help="also write findings, versions, settings, state and logs there, for "
            "a bug report, without secrets and names; it must not exist",
            parse=parse_folder,
        ),
        next(option for option in OPTIONS if option.name == "token"),
        _REHEARSE,
    ),
    examples=(
        "%avocado_doctor",
        "%avocado_doctor --token $NGROK --report report.json",
        "%avocado_doctor --rehearse",
    ),
    notes="Nothing is changed, and only the hosts that the service needs are asked. "
    "The token is looked at, never shown or sent.",
)
ASK: Final = CommandSpec(
    name="avocado_ask",
    summary="Ask a model of the running service; the cell is the question.",
    words="[MODEL]",
    options=(
        Option(
            name="system",
            metavar="TEXT",
            help="instructions that go before the question",
        ),
        _REHEARSE,
    ),
    examples=(
        "%%avocado_ask",
        "Why is the sky blue?",
        "",
        '%%avocado_ask llama3 --system "Answer in one sentence."',
        "Why is the sky blue?",
    ),
    notes="Without MODEL the first one answers. Each cell is a new conversation. "
    "The answer is shown as it comes; interrupting the cell ends it. "
    "Markdown is rendered; HTML and images in it are not.",
    is_cell=True,
)
MODEL: Final = CommandSpec(
    name="avocado_model",
    summary="Make a model from the cell, which is a Modelfile, and serve it.",
    words="NAME",
    options=(_REHEARSE,),
    examples=(
        "%%avocado_model pirate",
        "FROM llama3",
        "PARAMETER temperature 0.9",
        "SYSTEM You are a pirate.",
    ),
    notes="The engine's own ollama create does it: docs.ollama.com/modelfile. A model "
    "after FROM that is not here is pulled by the engine first; relative paths lead "
    "from the notebook's folder. The same NAME again replaces the model.",
    is_cell=True,
)
COMMANDS: Final = (UP, STATUS, DOWN, LOGS, KEYS, DOCTOR, ASK, MODEL)
"""Every magic."""
