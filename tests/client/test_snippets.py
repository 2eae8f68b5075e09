"""Code for common clients: filled in, quoted, and without the user's own key."""

from __future__ import annotations

import ast
import json
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from spicy_avocado_magic.client.snippets import Snippet, Snippets, snippets
from spicy_avocado_magic.client.state_text import REHEARSAL_MARK
from spicy_avocado_magic.protocol.state import ModelState, State

KEY = "avocado-0123456789abcdef"
URL = "https://a.ngrok.app"
STATE = State(
    url=URL,
    local_url="http://127.0.0.1:8000",
    api_key=KEY,
    key_is_generated=True,
    models=(ModelState(name="qwen3:8b"), ModelState(name="tiny")),
)
TITLES = (
    "curl",
    "openai (Python)",
    "openai (JavaScript)",
    "ollama (Python)",
    "ollama (program)",
    "anthropic (Python)",
    "Claude Code",
    "LangChain (Python)",
    "Continue (config.yaml)",
    "Open WebUI",
)
OWN_KEY = replace(STATE, key_is_generated=False)
HIDDEN = replace(STATE, hide_key=True)
NO_KEY = replace(STATE, api_key="")
STATES = [STATE, OWN_KEY, HIDDEN, NO_KEY, replace(STATE, url="", path_key=True)]


def named(made: Snippets, title: str) -> str:
    """Return the code for one client."""
    return next(snippet.code for snippet in made if snippet.title == title)


def of_language(language: str) -> list[Snippet]:
    """Return the code in one language, for every kind of service."""
    made = [snippets(state, show_key=True) for state in STATES]
    return [s for each in made for s in each if s.language == language]


def test_there_is_code_for_every_client() -> None:
    """The most common clients come first."""
    assert tuple(snippet.title for snippet in snippets(STATE, show_key=True)) == TITLES


def test_each_snippet_is_filled_in() -> None:
    """With URL, key and the first model; nothing is left to replace."""
    for snippet in snippets(replace(STATE, path_key=True), show_key=True):
        for text in (
            (URL, KEY, "qwen3:8b") if snippet.title != "Open WebUI" else (URL, KEY)
        ):
            assert text in snippet.code, f"{snippet.title} lacks {text}"


@pytest.mark.parametrize(
    ("state", "show_key"),
    [(STATE, False), (OWN_KEY, True), (HIDDEN, True)],
    ids=["shown once already", "of the user's own", "--hide-key"],
)
def test_a_hidden_key_is_a_variable(state: State, show_key: bool) -> None:
    """Each language reads it in its own way."""
    made = snippets(replace(state, path_key=True), show_key=show_key)
    for snippet in made:
        assert KEY not in snippet.code, f"{snippet.title} shows the key"
        assert "AVOCADO_API_KEY" in snippet.code, f"{snippet.title} has no key at all"
    assert KEY not in str(made)


def test_the_shell_explains_an_unset_key() -> None:
    """No request is sent without a key."""
    line = named(snippets(OWN_KEY, show_key=True), "curl")
    done = subprocess.run(
        ["/bin/sh", "-c", line], env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "print(avocado.api_key)" in done.stderr


def test_without_authentication_no_key_is_sent() -> None:
    """Except by clients that require one."""
    made = snippets(NO_KEY, show_key=True)
    for title in ("curl", "ollama (Python)"):
        assert "Authorization" not in named(made, title)
    assert 'api_key="none"' in named(made, "openai (Python)")
    assert named(made, "ollama (program)").startswith(f"OLLAMA_HOST={URL} ollama run")


def test_the_ollama_program_needs_the_path_key() -> None:
    """It sends no key; without the option the snippet explains that."""
    without = named(snippets(STATE, show_key=True), "ollama (program)")
    assert "%avocado_up --path-key" in without
    assert KEY not in without
    with_it = replace(STATE, path_key=True)
    line = named(snippets(with_it, show_key=True), "ollama (program)")
    host, *words = shlex.split(line)
    assert host == f"OLLAMA_HOST={URL}/{KEY}"
    assert words == ["ollama", "run", "qwen3:8b", "Hello!"]


@pytest.mark.parametrize(
    ("engine", "is_old"),
    [
        ("Ollama 0.11.4", True),
        ("Ollama 0.13.99", True),
        ("Ollama 0.14.0", False),
        ("Ollama 0.14.0-rc2", False),
        ("Ollama 1.0.0", False),
        ("Ollama 0.0.0", False),
        ("", False),
    ],
)
def test_an_engine_without_the_anthropic_api_gets_an_explanation(
    engine: str, is_old: bool
) -> None:
    """It names the version that has it; unknown versions are trusted."""
    made = snippets(replace(STATE, engine=engine), show_key=True)
    assert tuple(snippet.title for snippet in made) == TITLES
    for title in ("anthropic (Python)", "Claude Code"):
        code = named(made, title)
        assert ("0.14.0 and later" in code) is is_old, code
        assert (URL in code) is not is_old, "code is there that cannot work"
        if is_old:
            assert all(line.startswith("# ") for line in code.splitlines())
            assert "%avocado_up --ollama-version 0." in code
    assert all(
        URL in snippet.code for snippet in made if snippet.title.startswith("openai")
    )


def test_lines_are_short_enough_for_a_card() -> None:
    """Python code would break in the middle of a string."""
    state = replace(STATE, url=f"https://{'a' * 24}.ngrok-free.app", path_key=True)
    for snippet in snippets(state, show_key=True):
        longest = max(map(len, snippet.code.splitlines()))
        assert snippet.language != "python" or longest <= 80, (
            f"{snippet.title}: {longest}"
        )


def test_without_a_tunnel_the_local_url_is_used() -> None:
    """As under ``--local``."""
    local = snippets(replace(STATE, url="", path_key=True), show_key=True)
    assert all("http://127.0.0.1:8000" in snippet.code for snippet in local)


def test_shell_code_is_valid() -> None:
    """Whatever the name of the model or the URL contains."""
    for snippet in of_language("shell"):
        subprocess.run(["/bin/sh", "-n", "-c", snippet.code], check=True)
    evil = "x'; touch /nowhere; echo $(id) \"`id`"
    state = replace(STATE, url=evil, path_key=True, models=(ModelState(name=evil),))
    made = snippets(state, show_key=True)
    for title in ("ollama (program)", "Claude Code", "Open WebUI", "curl"):
        words = shlex.split(named(made, title))
        assert any(evil in word for word in words), f"{title} breaks the name up"
    assert json.loads(shlex.split(named(made, "curl"))[-1])["model"] == evil


def test_python_code_is_valid() -> None:
    """Names are quoted."""
    for snippet in of_language("python"):
        ast.parse(snippet.code)
    evil = 'x"); import os; ("\n\\'
    made = snippets(replace(STATE, models=(ModelState(name=evil),)), show_key=True)
    for snippet in made:
        if snippet.language == "python":
            constants = {
                node.value
                for node in ast.walk(ast.parse(snippet.code))
                if isinstance(node, ast.Constant)
            }
            assert evil in constants, f"{snippet.title} does not quote the name"


def test_yaml_code_is_a_configuration_of_continue() -> None:
    """With the fields that its reference requires."""
    shown = yaml.safe_load(named(snippets(STATE, show_key=True), TITLES[8]))
    assert {"name", "version", "schema", "models"} == set(shown)
    (model,) = shown["models"]
    assert model["provider"] == "openai"
    assert (model["model"], model["apiKey"]) == ("qwen3:8b", KEY)
    assert model["apiBase"] == f"{URL}/v1"
    hidden: Any = yaml.safe_load(named(snippets(HIDDEN, show_key=True), TITLES[8]))
    assert hidden["models"][0]["apiKey"] == "${{ secrets.AVOCADO_API_KEY }}"


def test_javascript_code_is_valid(tmp_path: Path) -> None:
    """``node`` checks it without running it."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on PATH to check JavaScript with")
    for number, snippet in enumerate(of_language("javascript")):
        file = tmp_path / f"{number}.mjs"
        file.write_text(snippet.code)
        subprocess.run([node, "--check", str(file)], check=True)


def test_printed_snippets_are_one_text() -> None:
    """Each has a heading; a rehearsal is marked."""
    made = snippets(STATE, show_key=False)
    text = str(made)
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == list(
        TITLES
    )
    assert all(snippet.code in text for snippet in made)
    assert REHEARSAL_MARK not in text
    rehearsed = snippets(replace(STATE, rehearsal=True), show_key=False)
    assert str(rehearsed).startswith(REHEARSAL_MARK)


def test_ipython_shows_the_text() -> None:
    """Not the repr of a tuple."""
    printed: list[str] = []

    class Printer:
        """Takes the text, as IPython's own does."""

        def text(self, text: str) -> None:
            printed.append(text)

    made = snippets(STATE, show_key=False)
    made._repr_pretty_(Printer(), False)
    assert printed == [str(made)]
