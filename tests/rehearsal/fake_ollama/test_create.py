"""The stand-in's ``ollama create``: as a real one as far as it goes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import ollama
import pytest

from spicy_avocado_magic.rehearsal.fake_ollama.create import create


async def run(engine: str, folder: Path, text: str) -> int:
    """Run it on a Modelfile against an engine; return its status."""
    modelfile = folder / "Modelfile"
    modelfile.write_text(text)
    host, _, port = engine.rpartition("/")[2].partition(":")
    return await asyncio.to_thread(create, "mine", modelfile, (host, int(port)))


async def test_a_model_is_made_of_another(
    tiny: str, client: ollama.AsyncClient, tmp_path: Path
) -> None:
    """Under its own name, and it speaks."""
    text = 'FROM tiny\nPARAMETER temperature 1\nSYSTEM """Be\nbrief."""\n'
    assert await run(tiny, tmp_path, text) == 0
    assert "mine:latest" in {m.model for m in (await client.list()).models}
    answer = await client.generate("mine", "Say avocado")
    assert "avocado" in (answer.response or "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM tiny\nSTOP x\n", "Error: (line 2): command must be one of"),
        ("SYSTEM hi\n", "Error: no FROM line"),
        ("FROM missing\n", "Error: pull model manifest: file does not exist"),
        ("FROM /nowhere/x.gguf\n", "Error: this rehearsal engine"),
    ],
)
async def test_it_fails_in_ollamas_words(
    tiny: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    message: str,
) -> None:
    """The product finds the problem by them."""
    assert await run(tiny, tmp_path, text) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].startswith(message)


async def test_without_an_engine_it_fails(tmp_path: Path) -> None:
    """And hangs for nobody."""
    assert await run("http://127.0.0.1:1", tmp_path, "FROM tiny\n") == 1
