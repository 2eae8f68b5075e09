"""Typing in a real kernel of this IPython: completion, help, typos and prompts."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from spicy_avocado_magic import down, status
from spicy_avocado_magic.notebook.line.command_table import COMMANDS, CommandSpec
from tests.main_job.home import Home

from .cells import failed, good, loaded_kernel, new_kernel_home
from .kernel import Kernel

TOKEN = "2abcdefghijklmnopqrstuvwxyz_0123456789"
COLAB = """
from tests import colab_stand_in
colab_stand_in.install(colab_stand_in.ask_page)
"""

BODY = """%%avocado_up  # here
# there's a comment
export AVOCADO_MODEL='tiny'
AVOCADO_LOCAL=yes  # too
AVOCADO_REHEARSE=1
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    """Give all cells of this file one home."""
    with pytest.MonkeyPatch.context() as patch, new_kernel_home(patch) as made:
        yield made


@pytest.fixture(scope="module")
def same_kernel(home: Home) -> Iterator[Kernel]:
    """Start one kernel for the tests that leave it unchanged."""
    with loaded_kernel() as started:
        yield started


@pytest.fixture
def kernel(same_kernel: Kernel) -> Iterator[Kernel]:
    """Return that kernel, and clean up after the test."""
    yield same_kernel
    down()
    good(same_kernel.run("%reset -f"))


@pytest.mark.parametrize("jedi", [True, False])
@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("%avocado_up --lo", ["%avocado_up --local"]),
        ("%%avocado_up --lo", ["%%avocado_up --local"]),
        ("x = 1\n%avocado_up tiny --di", ["x = 1\n%avocado_up tiny --di"]),
        ("f = %avocado_status --js", ["f = %avocado_status --json"]),
        ("%avocado_up qwen3:4", ["%avocado_up qwen3:4b"]),
        ("%avocado_up --token $NGROK_MI", ["%avocado_up --token $NGROK_MINE"]),
        ("%avocado_up --token=${NGROK_MI", ["%avocado_up --token=${NGROK_MINE}"]),
        ("%avocado_up --detach=f", ["%avocado_up --detach=false"]),
        ("%avocado_logs eng", ["%avocado_logs engine"]),
        ("%avocado_keys rev", ["%avocado_keys revoke"]),
        ("%avocado_down --pu", ["%avocado_down --purge"]),
        ("%avocado_doctor --rep", ["%avocado_doctor --report"]),
    ],
)
def test_tab_offers_only_our_completions(
    same_kernel: Kernel, text: str, becomes: list[str], jedi: bool
) -> None:
    """By the kernel's protocol, with and without Jedi."""
    kernel = same_kernel
    good(kernel.run(f"%config IPCompleter.use_jedi = {jedi}\nNGROK_MINE = 'hidden-v'"))
    assert kernel.complete(text) == becomes


def test_tab_offers_installed_models_until_the_extension_is_unloaded(
    kernel: Kernel,
) -> None:
    """A model of the rehearsal is offered; nothing is after `unload_ext`."""
    good(kernel.run("%avocado_up tiny-of-mine --rehearse --local"))
    assert "%avocado_up tiny-of-mine" in kernel.complete("%avocado_up ti")
    good(kernel.run("%unload_ext spicy_avocado_magic"))
    assert "%avocado_up --local" not in kernel.complete("%avocado_up --lo")
    good(kernel.run("%load_ext spicy_avocado_magic"))


def test_config_is_completed_by_ipython(same_kernel: Kernel) -> None:
    """IPython itself completes our traits."""
    offered = same_kernel.complete("%config AvocadoMagics.do")
    assert "%config AvocadoMagics.domain" in offered


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.name)
def test_help_is_shown_in_every_way(same_kernel: Kernel, command: CommandSpec) -> None:
    """`?`, `--help` and Shift-Tab show every option and the examples."""
    kernel = same_kernel
    ansi_codes = re.compile(r"\x1b\[[0-9;]*m")
    sign = "%%" if command.examples[0].startswith("%%") else "%"
    typed = f"{sign}{command.name}"
    body = "\nsomething" if sign == "%%" else ""
    shown = {
        "?": "".join(kernel.run(f"{typed}?").pages),
        "--help": good(kernel.run(f"{typed} --help{body}")),
        "--help after one %": good(kernel.run(f"%{command.name} --help")),
        "Shift-Tab": kernel.inspect(typed),
    }
    for way, text in shown.items():
        for word in (*command.option_by_flag, "Examples:", command.examples[0]):
            assert word in ansi_codes.sub("", text), f"{way} does not show {word}"


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("%avocado_up tiny --rehersal", ("Did you mean --rehearse",)),
        ("%avocado_logs enigne", ("Did you mean engine",)),
        ("%avocado_down --prge", ("Did you mean --purge",)),
        ("%avocado_keys revok x", ("Did you mean revoke",)),
        ("%avocado_up {1+1} --rehearse", ("'{1+1}' is not a model name",)),
        ("MODEL = 'x'\n%avocado_up {MODEL} --rehearse", ("{MODEL}", "$MODEL")),
        ("%avocado_up 'tiny --rehearse", ("quote",)),
        ("%avocado_up tiny --port 0 --rehearse", ("--port '0'",)),
        ("%%avocado_up tiny --rehearse\nAVOCADO_PROT=1", ("AVOCADO_PORT",)),
    ],
)
def test_a_typo_gets_the_closest_match(
    same_kernel: Kernel, cell: str, words: tuple[str, ...]
) -> None:
    """The message is short, and nothing is started."""
    failed(same_kernel.run(cell), *words)
    assert status() is None


@pytest.mark.parametrize(
    "cell",
    [
        "%avocado_up 'tiny' --rehearse \"--local\" ;  # it's mine, --no-auth",
        "M = 'tiny'\ndef go():\n    %avocado_up $M \\\n    --rehearse --local\ngo()",
        "avocado_up tiny --rehearse --local;",
        BODY,
    ],
)
def test_a_line_is_parsed_like_a_shell_command(kernel: Kernel, cell: str) -> None:
    """Comments, quotes, semicolons, continued lines, variables and automagic."""
    good(kernel.run(cell))
    state = status(rehearse=True)
    assert state is not None, "nothing was started"
    assert [model.name for model in state.models] == ["tiny"]
    assert state.api_key, "a comment was taken for an option"


def test_defaults_by_config_from_a_cell(kernel: Kernel) -> None:
    """They are set, listed, used and refused."""
    good(kernel.run("%config AvocadoMagics.model = 'tiny'"))
    good(kernel.run("%config AvocadoMagics.local = True"))
    output = good(kernel.run("%config AvocadoMagics.port = 99999"))
    assert "--port '99999' is not a port. Use a number from 1 to 65535." in output
    output = good(kernel.run("%config AvocadoMagics.token = 'x-secret-x'"))
    assert "it takes no secrets" in output
    listed = good(kernel.run("%config AvocadoMagics"))
    assert "Current: 'tiny'" in listed
    assert "x-secret-x" not in listed
    good(kernel.run("%avocado_up --rehearse"))
    state = status(rehearse=True)
    assert state is not None
    assert not state.url, "the default was not used: there is a tunnel"
    for name in ("model", "local"):
        good(kernel.run(f"%config AvocadoMagics.{name} = None"))


def test_a_token_is_prompted_for_where_a_person_can_answer(kernel: Kernel) -> None:
    """The prompt hides it, and it is not in the output."""
    message = kernel.send("%avocado_up tiny", allow_stdin=True)
    assert "ngrok authtoken" in kernel.answer("not-a-token")
    output = kernel.collect(message)
    failed(output, "ERR_NGROK_105")
    assert "not-a-token" not in output.text
    message = kernel.send("%avocado_up tiny", allow_stdin=True)
    kernel.answer("")
    failed(kernel.collect(message), "No ngrok token", "--local")
    failed(kernel.run("%avocado_up tiny"), "No ngrok token", "--local")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"exists": True, "access": True, "payload": "short"}, ("ERR_NGROK_105",)),
        ({"exists": True, "access": False}, ("no access", "Notebook access")),
        ({"exists": False}, ("No ngrok token",)),
    ],
)
def test_a_secret_of_colab_is_read_through_its_page(
    kernel: Kernel, answer: dict[str, object], words: tuple[str, ...]
) -> None:
    """From the foreground cell, which blocks until the page answers."""
    good(kernel.run(COLAB))
    message = kernel.send("%avocado_up tiny")
    assert kernel.answer_page(message, **answer) == "NGROK_AUTHTOKEN"
    failed(kernel.collect(message), *words)
    good(kernel.run("import sys\ndel sys.modules['google.colab']"))


def test_a_secret_of_colab_is_not_read_from_a_thread(kernel: Kernel) -> None:
    """The page answers only the cell in the foreground."""
    code = f"""{COLAB}
import threading
from spicy_avocado_magic import AvocadoError, up
def go():
    try:
        up("tiny")
    except AvocadoError as error:
        errors.append(str(error))
errors = []
thread = threading.Thread(target=go)
thread.start()
thread.join(20)
print(errors, sys.modules.pop("google.colab"))
"""
    assert "foreground" in good(kernel.run("import sys\n" + code))


def test_a_magic_works_in_a_thread_and_beside_an_event_loop(kernel: Kernel) -> None:
    """A thread starts the service, a coroutine waits, and the next cell uses it."""
    good(kernel.run("%autoawait asyncio"))
    code = """
import asyncio, threading
ip, failures = get_ipython(), []
def go():
    try:
        ip.run_line_magic("avocado_up", "tiny --rehearse --local")
    except BaseException as error:
        failures.append(error)
thread = threading.Thread(target=go)
thread.start()
while thread.is_alive():
    await asyncio.sleep(0.02)
print(failures, "in the cell")
"""
    assert "[] in the cell" in good(kernel.run(code))
    output = good(kernel.run("await asyncio.sleep(0)\n%avocado_status\nprint(avocado)"))
    assert "tiny" in output
    again = (
        "await asyncio.sleep(0)\n%avocado_up tiny --rehearse\nprint(avocado.outcome)"
    )
    assert "reused" in good(kernel.run(again))
    assert "Stopped in" in good(kernel.run("await asyncio.sleep(0)\n%avocado_down"))


def test_up_in_a_thread_while_a_cell_runs(kernel: Kernel) -> None:
    """Also `up()` in a coroutine, where an event loop is already running."""
    code = """
import threading
from spicy_avocado_magic import up
held = []
thread = threading.Thread(
    target=lambda: held.append(up("tiny", rehearse=True, local=True)))
thread.start()
"""
    good(kernel.run(code))
    good(kernel.run("sum(range(10 ** 6))\nthread.join()\nprint(held[0].local_url)"))
    code = """
async def go():
    return up("tiny", rehearse=True)
print((await go()).outcome)
"""
    assert "reused" in good(kernel.run(code))
