"""Tab completion in a session: only ours on our lines, and none of ours elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import IPython.core.completer
import pytest
from IPython.core.completer import provisionalcompleter

import spicy_avocado_magic
from spicy_avocado_magic.notebook.line import ipython_completer
from spicy_avocado_magic.notebook.line.command_table import COMMANDS

from ..conftest import Service, Session

SECRET = "a-value-that-nobody-may-see"


@pytest.fixture(params=["jedi", "no jedi"])
def tabbing(
    request: pytest.FixtureRequest,
    bare: Session,
    service: Service,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Session]:
    """A session with our completer, in a home of its own, with and without Jedi."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    bare.shell.Completer.use_jedi = request.param == "jedi"
    spicy_avocado_magic.load_ipython_extension(bare.shell)
    yield bare
    spicy_avocado_magic.unload_ipython_extension(bare.shell)


def tab(session: Session, text: str) -> list[str]:
    """Return the cell with each completion at its end."""
    with provisionalcompleter():
        found = list(session.shell.Completer.completions(text, len(text)))
    return [text[: item.start] + item.text for item in found]


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("%avocado_up --lo", ["%avocado_up --local"]),
        ("x = 1\n%avocado_up --lo", ["x = 1\n%avocado_up --local"]),
        ("%%avocado_up --lo", ["%%avocado_up --local"]),
        ("f = %avocado_status --j", ["f = %avocado_status --json"]),
        ("%avocado_up qwen3:4", ["%avocado_up qwen3:4b"]),
        ("%avocado_up --ttl=2", ["%avocado_up --ttl=2h"]),
        ("%avocado_logs eng", ["%avocado_logs engine"]),
        ("%avocado_up --di", ["%avocado_up --di"]),
        ("%avocado_up --pri", ["%avocado_up --pri"]),
        ("%%avocado_up tiny\nAVOCADO_TT", ["%%avocado_up tiny\nAVOCADO_TTL="]),
    ],
)
def test_a_line_of_our_magics_gets_only_our_completions(
    tabbing: Session, text: str, becomes: list[str]
) -> None:
    """Not ``--dict`` or ``--print``, as Jedi would offer."""
    assert tab(tabbing, text) == becomes


def test_names_are_offered_and_never_values(tabbing: Session) -> None:
    """Variables first, then the environment; not functions and modules."""
    tabbing.run(f"import os\nNGROK_MINE = {SECRET!r}\ndef ngrok_it(): pass")
    os.environ["NGROK_THEIRS"] = SECRET
    try:
        found = tab(tabbing, "%avocado_up --token $NGROK_")
        everything = tab(tabbing, "%avocado_up --token $")
    finally:
        del os.environ["NGROK_THEIRS"]
    assert found == [f"%avocado_up --token $NGROK_{n}" for n in ("MINE", "THEIRS")]
    assert SECRET not in str(everything)
    names = {line.rpartition("$")[2] for line in everything}
    assert not names & {"os", "ngrok_it", "In", "Out", "exit"}, "no value among them"


def test_a_platforms_usual_secret_is_offered_by_name(
    tabbing: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store cannot be listed, but the usual name is known."""
    line = "%avocado_up --token $NGROK_A"
    assert tab(tabbing, line) == [line]
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    assert tab(tabbing, line) == ["%avocado_up --token $NGROK_AUTHTOKEN"]


def test_installed_models_go_before_well_known_ones(
    tabbing: Session, tmp_path: Path
) -> None:
    """They are found on disk, without the engine."""
    place = tmp_path / ".ollama/models/manifests/registry.ollama.ai/library/llama-own"
    place.mkdir(parents=True)
    (place / "latest").write_text("{}")
    found = tab(tabbing, "%avocado_up llama")
    assert found[0] == "%avocado_up llama-own"
    assert "%avocado_up llama3" in found


def test_paths_are_offered_for_a_folder(tabbing: Session, tmp_path: Path) -> None:
    """``~`` is kept as typed."""
    (tmp_path / "models").mkdir()
    found = tab(tabbing, "%avocado_up --models-dir ~/mo")
    assert found == ["%avocado_up --models-dir ~/models/"]


def test_every_magic_that_is_registered_completes(tabbing: Session) -> None:
    """None is missing in the table of commands."""
    kinds = tabbing.shell.magics_manager.magics
    registered = {n for kind in kinds.values() for n in kind if n.startswith("avocado")}
    assert registered == {command.name for command in COMMANDS}
    for name in registered:
        assert f"%{name} --help" in tab(tabbing, f"%{name} --he")


def test_python_is_completed_as_before(tabbing: Session) -> None:
    """Our completions are not offered elsewhere."""
    tabbing.run("some_number = 1")
    assert any(line.endswith("some_number") for line in tab(tabbing, "some_nu"))
    assert not any("domain" in line for line in tab(tabbing, "%cd --do"))


def test_unloading_removes_the_completer(tabbing: Session) -> None:
    """Loading again installs it once."""
    spicy_avocado_magic.unload_ipython_extension(tabbing.shell)
    line = "%avocado_up --loc"
    assert "%avocado_up --local" not in tab(tabbing, line)
    spicy_avocado_magic.load_ipython_extension(tabbing.shell)
    assert tab(tabbing, line) == ["%avocado_up --local"]


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the matchers, as in IPython 7.34 to 8.5."""
    if hasattr(IPython.core.completer, "context_matcher"):
        monkeypatch.delattr(IPython.core.completer, "context_matcher")


def test_the_old_hook_offers_the_same(old: None, tabbing: Session) -> None:
    """However IPython delimits the word: after a colon, a dollar, a comma."""
    tabbing.run("NGROK_MINE = 'x'")
    for text, becomes in (
        ("%avocado_up --lo", "%avocado_up --local"),
        ("%avocado_up qwen3:4", "%avocado_up qwen3:4b"),
        ("%avocado_up --token=$NGROK_M", "%avocado_up --token=$NGROK_MINE"),
        ("%avocado_keys add a --models llama3,qwen3:4", None),
        ("%avocado_up --dic", "%avocado_up --dic"),
    ):
        assert tab(tabbing, text) == [becomes or text + "b"], text
    completer: Any = tabbing.shell.Completer
    assert "_jedi_matches" in vars(completer), "Jedi would be asked about our lines"
    ipython_completer.remove(tabbing.shell)
    assert "_jedi_matches" not in vars(completer)
    assert "%avocado_up --local" not in tab(tabbing, "%avocado_up --lo")
