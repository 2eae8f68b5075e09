"""The table of magics: arguments, options and help of each.

The magics, the parser of their lines, completion and ``--help`` are made from it. A
command is a row here and a module ``notebook/commands/NAME.py`` with ``run(call)``.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Final

from ...config.api_key_options import KEY_OPTIONS
from ...config.options import OPTION_BY_NAME, OPTIONS, Option, parse_flag, parse_folder
from ...config.validators import parse_whole_number
from ...errors import UsageError

PREFIX: Final = "avocado_"
"""Of the name of every magic."""
_COLUMN: Final = 32
_WIDTH: Final = 88


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """A positional argument: a word on the line that is not an option."""

    name: str
    choices: tuple[str, ...] = ()
    """The only words that it may be; empty for any."""
    is_model: bool = False
    """Whether it is the name of a model, which a list in a variable may hold."""
    is_required: bool = False
    repeats: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """One magic: its name, arguments, options and help."""

    name: str
    summary: str
    options: tuple[Option, ...]
    examples: tuple[str, ...]
    words: str = ""
    """The positional arguments as the help shows them."""
    arguments: tuple[Argument, ...] = ()
    exclusive: tuple[tuple[str, str], ...] = ()
    """Pairs of flags, by option name, that cannot be used together."""
    notes: str = ""
    body: str = ""
    """The cell body that it cannot do without, such as ``question``."""
    takes_body: bool = False
    """Whether it may have a cell body."""

    @property
    def option_by_flag(self) -> dict[str, Option]:
        """Its options as they are typed."""
        return {option.flag: option for option in self.options}

    @property
    def usage(self) -> str:
        """Its name and arguments as the help shows them."""
        return f"{'%%' if self.body else '%'}{self.name} {self.words}".rstrip()

    def help(self) -> str:
        """Return the text of ``--help`` and of ``%name?``."""
        lines = [self.summary, "", f"    {self.usage} [options]", ""]
        for option in self.options:
            head = f"  {option.flag} {option.metavar}".rstrip()
            lines += _columns(head, option.help)
        lines += _columns("  --help", "show this help")
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
    first, *more = textwrap.wrap(text, _WIDTH - _COLUMN)
    return [f"{head:<{_COLUMN}}{first}", *(" " * _COLUMN + line for line in more)]


def parse_count(text: str) -> int:
    """Return a number of lines.

    Raises:
        UsageError: If it is not a number.
    """
    if (count := parse_whole_number(text)) is not None:
        return count
    raise UsageError(f"{text!r} is not a number of lines.", "Write -n 20.")


def _switch(name: str, text: str) -> Option:
    return Option(name=name, help=text, parse=parse_flag)


_REHEARSE: Final = _switch("rehearse", "use the rehearsal only, never the real service")
_DOLLAR: Final = (
    "$NAME is a notebook variable, an environment variable or a secret of the platform."
)

UP: Final = CommandSpec(
    name="avocado_up",
    summary="Start a public URL, protected by a key, for your own Ollama models.",
    options=OPTIONS,
    words="[MODEL …]",
    arguments=(Argument(name="models", is_model=True, repeats=True),),
    takes_body=True,
    examples=(
        "%avocado_up llama3 --token $NGROK",
        "%avocado_up $MODEL --context 8192 --ttl 2h",
        "%avocado_up tiny --rehearse",
        "",
        "%%avocado_up qwen3:8b",
        "NGROK_AUTHTOKEN=$NGROK",
        "OLLAMA_NUM_PARALLEL=4",
    ),
    notes="Running the same line again changes nothing. While the service runs, an "
    "option that you give is changed, one that you leave out keeps its value, and "
    f"models are added. Turn a flag off with =false. {_DOLLAR} The body of a cell "
    "takes NGROK_AUTHTOKEN, NGROK_DOMAIN, AVOCADO_<OPTION> and Ollama's own OLLAMA_… "
    "variables. The line takes precedence over the body, the body over defaults set "
    "by %config AvocadoMagics.<option> = …, and those over AVOCADO_<OPTION> of the "
    "environment.",
)
STATUS: Final = CommandSpec(
    name="avocado_status",
    summary="Show the running service: its parts, URL, models, keys and requests.",
    options=(
        _switch("watch", "keep it up to date in place; stop the cell to end that"),
        _switch("json", "return it as a dict instead of showing it"),
        _REHEARSE,
    ),
    exclusive=(("json", "watch"),),
    examples=(
        "%avocado_status",
        "%avocado_status --watch",
        "facts = %avocado_status --json",
    ),
)
DOWN: Final = CommandSpec(
    name="avocado_down",
    summary="Stop the service and every program that it started.",
    options=(
        _switch(
            "purge", "also delete the Ollama releases that were installed; models stay"
        ),
        _REHEARSE,
    ),
    examples=("%avocado_down", "%avocado_down --purge"),
)
LOGS: Final = CommandSpec(
    name="avocado_logs",
    summary="Show the logs of the service, of Ollama and of ngrok, newest line last.",
    words="[component]",
    arguments=(Argument(name="component"),),
    options=(
        Option(
            name="n",
            metavar="N",
            help="number of lines; by default 100",
            parse=parse_count,
        ),
        _switch("follow", "show new lines as they come; stop the cell to end that"),
        _REHEARSE,
    ),
    examples=(
        "%avocado_logs",
        "%avocado_logs engine -n 20",
        "%avocado_logs tunnel --follow",
    ),
    notes="Components are host (the service itself), engine (Ollama), models, gateway, "
    "tunnel (ngrok) and rehearsal. Without one, all logs are merged by time. The logs "
    "can be read without a running service, until %avocado_down deletes them.",
)
KEYS: Final = CommandSpec(
    name="avocado_keys",
    summary="List the API keys of the running service, add one, or revoke one.",
    words="[add NAME | revoke NAME]",
    arguments=(
        Argument(name="action", choices=("add", "revoke")),
        Argument(name="name"),
    ),
    options=(*KEY_OPTIONS, _REHEARSE),
    examples=(
        "%avocado_keys",
        "%avocado_keys add ann --rpm 60 --tokens 100000 --expires 2h",
        "%avocado_keys add bob --models llama3,qwen3:8b",
        "%avocado_keys revoke ann",
    ),
    notes="A new key is shown in full once. It works at once and until %avocado_down; "
    "the URL does not change. Revoking a key ends its open requests. --tokens counts "
    "over the key's lifetime: a streamed answer is cut off at the limit; a prompt, or "
    "an answer in one piece, is counted afterwards and may exceed it. With --pool, a "
    f"key works on this notebook only. {_DOLLAR}",
)
DOCTOR: Final = CommandSpec(
    name="avocado_doctor",
    summary="Check for everything that can go wrong, and say how to fix it.",
    options=(
        Option(
            name="report",
            metavar="FILE",
            help="also write findings, versions, settings, state and logs to a new "
            "file for a bug report, without secrets and names",
            parse=parse_folder,
        ),
        OPTION_BY_NAME["token"],
        _REHEARSE,
    ),
    examples=(
        "%avocado_doctor",
        "%avocado_doctor --token $NGROK --report report.json",
        "%avocado_doctor --rehearse",
    ),
    notes="It changes nothing, and connects only to hosts that the service needs. "
    "The token's form is checked; it is never shown or sent.",
)
ASK: Final = CommandSpec(
    name="avocado_ask",
    summary="Ask a model of the running service; the cell is the question.",
    words="[MODEL]",
    arguments=(Argument(name="model", is_model=True),),
    body="question",
    takes_body=True,
    options=(
        Option(
            name="system",
            metavar="TEXT",
            help="instructions to the model, placed before the question",
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
    "The answer is shown as it arrives; stop the cell to end it. "
    "Markdown is rendered; HTML and images in it are not.",
)
MODEL: Final = CommandSpec(
    name="avocado_model",
    summary="Create a model from the cell, which is a Modelfile, and serve it.",
    words="NAME",
    arguments=(Argument(name="name", is_required=True),),
    body="Modelfile",
    takes_body=True,
    options=(_REHEARSE,),
    examples=(
        "%%avocado_model pirate",
        "FROM llama3",
        "PARAMETER temperature 0.9",
        "SYSTEM You are a pirate.",
    ),
    notes="Ollama's own ollama create does it: docs.ollama.com/modelfile. If the model "
    "after FROM is not installed, Ollama downloads it first. Relative paths start at "
    "the notebook's folder. Using the same NAME again replaces the model.",
)
COMMANDS: Final = (UP, STATUS, DOWN, LOGS, KEYS, DOCTOR, ASK, MODEL)
"""Every magic."""
