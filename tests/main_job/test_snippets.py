"""The hand-over's code, run as it is by the real clients through the public URL."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from spicy_avocado_magic.client.handle import Avocado
from tests.machine_speed import scaled

from .home import Home

RUN_S: Final = scaled(60.0)
HIDES: Final = pytest.mark.parametrize("hides", [False, True], ids=["key", "hidden"])


@pytest.fixture(scope="module")
def avocado(same_home: Home) -> Avocado:
    """A rehearsal that the ``ollama`` program can reach, too."""
    return same_home.up("tiny", path_key=True)


def code_for(avocado: Avocado, title: str, *, hides: bool) -> str:
    """Return the code for one client; the key is in it unless it is hidden."""
    code = next(
        snippet.code
        for snippet in avocado.snippets(show_key=not hides)
        if snippet.title == title
    )
    assert (avocado.api_key in code) is not hides
    return code


def run(
    command: list[str], avocado: Avocado, *, hides: bool, folder: Path | None = None
) -> str:
    """Run a program, with the key in its environment where the code has it not."""
    environ = os.environ | ({"AVOCADO_API_KEY": avocado.api_key} if hides else {})
    done = subprocess.run(
        command,
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@HIDES
def test_curl(avocado: Avocado, hides: bool) -> None:
    """One line of a shell."""
    code = code_for(avocado, "curl", hides=hides)
    output = run(
        ["/bin/sh", "-c", code.replace("curl", "curl -sSf", 1)], avocado, hides=hides
    )
    assert "Hello!" in output


@HIDES
@pytest.mark.parametrize("client", ["openai", "ollama", "anthropic"])
def test_python_clients(avocado: Avocado, client: str, hides: bool) -> None:
    """Each prints what the model says: in a rehearsal, the question."""
    code = code_for(avocado, f"{client} (Python)", hides=hides)
    output = run([sys.executable, "-c", code], avocado, hides=hides)
    assert "Hello!" in output


@HIDES
def test_the_ollama_program(avocado: Avocado, real_ollama: Path, hides: bool) -> None:
    """A real one, as a client of the rehearsal."""
    code = code_for(avocado, "ollama (program)", hides=hides)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{real_ollama.parent}{os.pathsep}{os.environ['PATH']}")
        output = run(["/bin/sh", "-c", code], avocado, hides=hides)
    assert "Hello!" in output


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``openai`` for JavaScript is installed."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("no node and npm on PATH, which run the JavaScript client")
    folder = tmp_path_factory.mktemp("node")
    command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "openai"]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=scaled(100),
        check=False,
    )
    if done.returncode:
        pytest.skip(f"npm cannot install openai: {done.stderr[-300:]}")
    return folder


@HIDES
def test_openai_for_javascript(
    avocado: Avocado, node_folder: Path, hides: bool
) -> None:
    """The real package from npm."""
    script = node_folder / "snippet.mjs"
    script.write_text(code_for(avocado, "openai (JavaScript)", hides=hides))
    output = run(["node", script.name], avocado, hides=hides, folder=node_folder)
    assert "Hello!" in output
