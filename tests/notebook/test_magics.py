"""The magics in a session, with a client that starts nothing."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest

import spicy_avocado_magic
from spicy_avocado_magic.client import up
from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.client.state_text import REHEARSAL_MARK
from spicy_avocado_magic.errors import (
    InternalError,
    Interrupted,
    InvalidToken,
    SecretMissing,
    UsageError,
)
from spicy_avocado_magic.notebook import commands
from spicy_avocado_magic.notebook.line.command_table import (
    COMMANDS,
    DOWN,
    PREFIX,
    STATUS,
    UP,
    CommandSpec,
)
from spicy_avocado_magic.protocol.state import PROTOCOL
from spicy_avocado_magic.protocol.state_folder import DaemonRecord, StateFolder
from spicy_avocado_magic.system.processes import identify

from . import conftest
from .conftest import KEY, READY, Service, Session

TOKEN = "2abcdefghijklmnopqrstuvwxyz_0123456789"


def write_record(*, rehearsal: bool = False, protocol: int = PROTOCOL) -> None:
    """Write the record of a running service; this process stands for it."""
    me = identify(os.getpid())
    assert me is not None
    folder = StateFolder.find(rehearsal=rehearsal)
    folder.write_record(DaemonRecord(host=me, protocol=protocol))


def test_up_shows_url_and_key_and_sets_the_handle(
    session: Session, service: Service
) -> None:
    """One cell later, everything that a client needs is on the screen."""
    session.shell.user_ns["T"] = TOKEN
    assert session.run("%avocado_up llama3 --token $T") is None, "the cell has a value"
    assert dict(service.requests[0].given)["token"] == TOKEN
    shown = session.printed()
    assert READY.url in shown
    assert KEY in shown, "the key that was made is shown once, whole"
    assert "! No GPU was found." in shown
    assert TOKEN not in shown
    assert isinstance(session.shell.user_ns["avocado"], Avocado)


def test_a_cell_body_sets_options(session: Session, service: Service) -> None:
    """The cell magic takes settings line by line."""
    session.shell.user_ns["MODEL"] = "qwen3 llama3"
    session.run("%%avocado_up $MODEL\nOLLAMA_NUM_PARALLEL=4\nAVOCADO_LOCAL=yes")
    assert dict(service.requests[0].given) == {
        "models": ("qwen3", "llama3"),
        "engine_env": (("OLLAMA_NUM_PARALLEL", "4"),),
        "local": True,
    }


def test_a_variable_of_a_function_is_found(session: Session, service: Service) -> None:
    """``$NAME`` is looked up where Python would look it up."""
    session.run("def go(where):\n    %avocado_up $where\ngo('llama3')")
    assert service.requests[0].given["models"] == ("llama3",)


def test_ipython_does_not_expand_variables_itself(
    session: Session, service: Service
) -> None:
    """A value with spaces stays one value, and only a literal token causes advice."""
    session.shell.user_ns["FOLDER"] = "/my models"
    session.shell.user_ns["T"] = TOKEN
    session.run("%avocado_up llama3 --models-dir $FOLDER --token $T")
    assert service.requests[0].given["models_dir"] == "/my models"
    assert "$NAME" not in session.printed()


@pytest.mark.parametrize("outcome", ["reused", "changed"])
def test_the_key_is_shown_in_full_only_by_the_cell_that_made_it(
    session: Session, service: Service, outcome: str
) -> None:
    """The output of a later cell masks it."""
    service.outcome = outcome
    session.run("%avocado_up llama3 --local")
    assert KEY not in session.printed()


def test_a_restart_does_not_show_the_old_key_again(
    session: Session, service: Service
) -> None:
    """It was shown by the up that made it."""
    session.run("%avocado_up llama3 --local --restart")
    assert KEY not in session.printed()


def test_a_variable_of_the_user_is_not_overwritten(
    session: Session, service: Service
) -> None:
    """The user may have data called ``avocado``."""
    session.run("avocado = 'prices'\n%avocado_up llama3 --local")
    session.run("%avocado_status")
    spicy_avocado_magic.unload_ipython_extension(session.shell)
    assert session.shell.user_ns["avocado"] == "prices"


def test_the_handle_is_set_again_after_reset(
    session: Session, service: Service
) -> None:
    """The service does not depend on the variable."""
    session.run("%avocado_up llama3 --local")
    session.run("%reset -f")
    assert "avocado" not in session.shell.user_ns
    session.run("%avocado_status")
    assert session.shell.user_ns["avocado"].outcome == "restored"


def test_status_keeps_a_handle_that_still_works(
    session: Session, service: Service
) -> None:
    """Its ``outcome`` stays that of ``up``."""
    session.run("%avocado_up llama3 --local")
    session.run("%avocado_status")
    assert session.shell.user_ns["avocado"].outcome == "launched"


def test_status_as_a_dict_masks_the_key(session: Session, service: Service) -> None:
    """A dict is easily printed, so it holds no key and no scraper's token."""
    token = "avocado-metrics-0123456789"
    service.state = replace(READY, metrics_token=token)
    facts = session.run("%avocado_status --json")
    assert facts["url"] == READY.url
    assert KEY not in str(facts)
    assert token not in str(facts)
    assert facts["traffic"]["in_flight"] == 0, "the traffic is left out"
    assert session.printed().count(READY.url) <= 1, "a dict is returned, not shown"


def test_status_and_down_succeed_where_nothing_runs(
    session: Session, service: Service
) -> None:
    """They print that nothing is running."""
    for cell, value in (
        ("%avocado_status", None),
        ("%avocado_status --json", {}),
        ("%avocado_down", None),
    ):
        assert session.run(cell) == value
        assert "Nothing is running" in session.printed()


def test_down_prints_what_it_stopped(session: Session, service: Service) -> None:
    """One line: what, how long, and that nothing is left."""
    service.state = READY
    session.run("%avocado_down")
    printed = session.printed()
    assert printed.startswith("Stopped in 1.2 s (host, engine). The URL and its keys")
    assert "Nothing is left: no process" in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize(
    "cell",
    ["%avocado_up tiny --rehearse", "%avocado_status --rehearse", "%avocado_down"],
)
def test_every_output_of_a_rehearsal_is_marked(
    session: Session, service: Service, cell: str
) -> None:
    """A rehearsal must not be mistaken for the real service."""
    service.state = replace(READY, rehearsal=True)
    session.run(cell)
    assert REHEARSAL_MARK in session.printed()


@pytest.mark.parametrize("command", [UP, STATUS, DOWN], ids=lambda c: c.name)
def test_help_is_printed_and_nothing_is_done(
    session: Session, service: Service, command: Any
) -> None:
    """``--help`` prints what ``?`` shows."""
    session.run(f"%{command.name} --help")
    assert session.printed() == command.help() + "\n"
    assert service.requests == []
    kinds = session.shell.magics_manager.magics
    assert kinds["line"][command.name].__doc__ == command.help()


@pytest.mark.parametrize(
    "error",
    [
        InvalidToken("No.", "Another."),
        Interrupted("Stopped.", "Again."),
    ],
)
def test_our_errors_show_two_lines_and_fail_the_cell(
    session: Session, service: Service, error: BaseException
) -> None:
    """There is no traceback, and no handle is set."""
    service.error = error
    assert session.fail("%avocado_up llama3 --local") is error
    shown = session.printed()
    assert shown.strip().splitlines() == [
        f"✗ {error.args[0]}",
        f"  → {error.args[1]}",
    ]
    assert "avocado" not in session.shell.user_ns


def test_an_unknown_option_starts_nothing(session: Session, service: Service) -> None:
    """A typo is reported before anything begins."""
    assert isinstance(session.fail("%avocado_up llama3 --tokn x"), UsageError)
    assert service.requests == []


@pytest.mark.parametrize(
    ("raised", "shown"),
    [(KeyboardInterrupt(), Interrupted), (KeyError(1), InternalError)],
)
def test_other_exceptions_become_our_errors(
    session: Session,
    service: Service,
    raised: BaseException,
    shown: type[BaseException],
) -> None:
    """An interrupt or a bug of ours shows two lines as well."""
    service.error = raised
    assert isinstance(session.fail("%avocado_up llama3 --local"), shown)


def test_a_literal_token_causes_advice(session: Session, service: Service) -> None:
    """In one line, which does not repeat it."""
    session.run(f"%avocado_up llama3 --token {TOKEN}")
    printed = session.printed()
    assert "--token $NAME" in printed
    assert TOKEN not in printed


def test_the_platforms_terms_are_shown_once(
    session: Session, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first ``up`` of a session says what the platform restricts."""
    monkeypatch.setenv("COLAB_RELEASE_TAG", "x")
    session.run("%avocado_up llama3 --local")
    assert "! A free session lasts" in (printed := session.printed())
    assert "Colab's terms" in printed
    session.run("%avocado_up llama3 --local")
    assert "Colab" not in session.printed()


@pytest.mark.parametrize(
    ("options", "is_offered"), [("", True), (" --metrics-port 9464", False)]
)
def test_metrics_are_offered_to_an_agent_of_datadog_unless_they_are_on(
    session: Session,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    options: str,
    is_offered: bool,
) -> None:
    """One line, in the first ``up`` that did not ask for them."""
    monkeypatch.setenv("DD_AGENT_HOST", "10.0.0.7")
    session.run(f"%avocado_up llama3 --local{options}")
    offered = "! A Datadog Agent is here: --metrics-port" in session.printed()
    assert offered == is_offered, f"{options!r}: {offered}"


def test_a_token_is_looked_for_in_the_notebooks_variables(
    session: Session, service: Service
) -> None:
    """``NGROK_AUTHTOKEN`` may be a variable of the notebook, or of a function."""
    session.shell.user_ns["NGROK_AUTHTOKEN"] = TOKEN
    session.run("%avocado_up llama3")
    assert service.namespaces[0]["NGROK_AUTHTOKEN"] == TOKEN


@pytest.mark.parametrize("outcome", ["launched", "reused", "changed"])
def test_up_prints_its_outcome(
    session: Session, service: Service, outcome: str
) -> None:
    """Also that nothing had to be changed."""
    service.outcome = outcome
    session.run("%avocado_up llama3 --local")
    assert f"{outcome}, says the service." in session.printed()


def test_a_token_is_prompted_for_only_where_a_person_can_answer(
    session: Session, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A notebook that runs by itself does not wait for an answer."""
    session.pretend_to_be_a_kernel(allow_stdin=False)
    session.run("%avocado_up llama3")
    session.pretend_to_be_a_kernel(allow_stdin=True)
    session.run("%avocado_up llama3")
    without_stdin, with_stdin = service.asks
    assert without_stdin is None
    monkeypatch.setattr(getpass, "getpass", lambda prompt: TOKEN)
    assert with_stdin("token: ") == TOKEN


def test_ctrl_d_at_the_prompt_is_an_empty_answer(
    session: Session, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our error for a missing token follows."""
    session.pretend_to_be_a_kernel(allow_stdin=True)
    session.run("%avocado_up llama3")

    def close(prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr(getpass, "getpass", close)
    assert service.asks[0]("token: ") == ""


def test_an_undefined_variable_is_named(session: Session, service: Service) -> None:
    """IPython itself would leave the whole line unexpanded."""
    error = session.fail("%avocado_up llama3 --token $NGROK")
    assert isinstance(error, SecretMissing)
    assert "$NGROK is not defined" in session.printed()


def test_background_returns_without_a_url(session: Session, service: Service) -> None:
    """There is no URL yet, and the line says how to look."""
    service.outcome = "accepted"
    session.run("%avocado_up llama3 --local --background")
    printed = session.printed()
    assert "accepted, says the service." in printed
    assert "curl" not in printed
    assert KEY in printed, "the key that was made is shown once, whole"
    assert "metrics" not in printed


def test_the_token_for_scrapers_is_handed_over_by_the_up_that_made_it(
    session: Session, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the foreground and in the background, and by no later one."""
    token = "avocado-metrics-0123456789"
    monkeypatch.setattr(conftest, "READY", replace(READY, metrics_token=token))
    bring_up = service.bring_up

    def with_new_token(*asked: Any, **options: Any) -> Avocado:
        avocado = bring_up(*asked, **options)
        avocado.has_new_token = is_new
        return avocado

    monkeypatch.setattr(up, "run_up", with_new_token)
    for is_new in (True, False):
        for outcome in ("launched", "accepted"):
            service.outcome = outcome
            session.run("%avocado_up llama3 --local --metrics-port 9464")
            printed = session.printed()
            assert (token in printed) is is_new, f"{outcome}, new: {is_new}"


def test_loading_twice_is_harmless(bare: Session, service: Service) -> None:
    """One message, one set of magics."""
    write_record()
    spicy_avocado_magic.load_ipython_extension(bare.shell)
    assert bare.printed().count("A service is already running") == 1
    held = bare.shell.user_ns["avocado"]
    assert held.outcome == "restored"
    spicy_avocado_magic.load_ipython_extension(bare.shell)
    assert bare.printed() == ""
    assert bare.shell.user_ns["avocado"] is held


def test_loading_says_when_the_name_is_taken(bare: Session, service: Service) -> None:
    """The user's own value stays, and the line says so."""
    write_record()
    bare.shell.user_ns["avocado"] = 1
    spicy_avocado_magic.load_ipython_extension(bare.shell)
    assert "is taken" in bare.printed()
    assert bare.shell.user_ns["avocado"] == 1


def test_a_running_rehearsal_is_restored_as_one(
    bare: Session, service: Service
) -> None:
    """With its mark."""
    write_record(rehearsal=True)
    spicy_avocado_magic.load_ipython_extension(bare.shell)
    assert REHEARSAL_MARK in bare.printed()


def test_with_rehearsals_asked_for_a_real_service_is_not_touched(
    bare: Session, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``AVOCADO_REHEARSE=1`` sees rehearsals alone."""
    write_record()
    monkeypatch.setenv("AVOCADO_REHEARSE", "1")
    spicy_avocado_magic.load_ipython_extension(bare.shell)
    assert "avocado" not in bare.shell.user_ns


def test_loading_beside_a_host_of_another_version_works(
    bare: Session, service: Service
) -> None:
    """The magics are there, so that the remedy can be typed."""
    write_record(protocol=PROTOCOL + 1)
    spicy_avocado_magic.load_ipython_extension(bare.shell)
    assert "--restart" in bare.printed()
    assert "avocado_up" in bare.shell.magics_manager.magics["line"]


def test_unloading_takes_everything_out(session: Session, service: Service) -> None:
    """No magic and no handle stays; the service runs on."""
    session.run("%avocado_up llama3 --local")
    spicy_avocado_magic.unload_ipython_extension(session.shell)
    kinds = session.shell.magics_manager.magics
    left = [name for kind in kinds.values() for name in kind if "avocado" in name]
    assert left == []
    assert "avocado" not in session.shell.user_ns
    assert service.state is not None
    spicy_avocado_magic.unload_ipython_extension(session.shell)
    spicy_avocado_magic.load_ipython_extension(session.shell)
    session.run("%avocado_status")


@pytest.mark.parametrize("spec", COMMANDS, ids=lambda spec: spec.name)
def test_every_row_of_the_table_is_a_magic_with_its_help(
    session: Session, spec: CommandSpec
) -> None:
    """``%name?`` and ``%lsmagic`` show it; a cell magic where it takes a body."""
    kinds = session.shell.magics_manager.lsmagic()
    assert spec.name in kinds["line"]
    assert (spec.name in kinds["cell"]) is spec.takes_body
    magic = session.shell.find_line_magic(spec.name)
    assert magic.__doc__ == spec.help()
    session.run(f"%{spec.name}?")
    assert spec.summary in session.printed()
    handler = import_module(f"{commands.__name__}.{spec.name.removeprefix(PREFIX)}")
    assert callable(handler.run), "the command has no handler"


def test_loading_the_extension_imports_no_command_and_no_display() -> None:
    """``%load_ext`` should be instant, and most sessions use few commands."""
    code = (
        "import sys, spicy_avocado_magic.notebook.extension\n"
        "print(*(n for n in sys.modules if '.display.' in n or '.commands.' in n))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    ours = [name for name in ran.stdout.split() if name.startswith("spicy_avocado")]
    assert ours == [], f"imported: {ours}"
