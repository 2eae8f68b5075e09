"""Models made from Modelfiles, on real engines and in a rehearsal."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import ollama
import pytest

from spicy_avocado_magic import down
from spicy_avocado_magic.client.create_model import create_model
from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.errors import AvocadoError, ModelUnavailable, UsageError
from spicy_avocado_magic.protocol.state import Phase
from spicy_avocado_magic.protocol.state_folder import Child, DaemonRecord, StateFolder
from spicy_avocado_magic.rehearsal.fake_downloads.archive import engine_script
from spicy_avocado_magic.rehearsal.fake_downloads.tiny_gguf import tiny_gguf
from tests.machine_speed import scaled

from .chat import stream_chat
from .home import Home

WAIT_S = scaled(20.0)


@pytest.fixture(scope="module")
def real(real_ollama: Path, same_home: Home) -> Iterator[Avocado]:
    """A service with a real engine that has no model of a made name."""
    with pytest.MonkeyPatch.context() as patch:
        path = os.pathsep.join((str(real_ollama.parent), os.environ["PATH"]))
        patch.setenv("PATH", path)
        yield same_home.up("tiny")
        down()


def served(avocado: Avocado) -> set[str]:
    """Return the models that the public URL lists."""
    request = urllib.request.Request(
        f"{avocado.url}/api/tags",
        headers={"Authorization": f"Bearer {avocado.api_key}"},
    )
    with urllib.request.urlopen(request, timeout=scaled(20)) as answer:
        return {model["name"] for model in json.load(answer)["models"]}


def shown(avocado: Avocado, model: str) -> ollama.ShowResponse:
    """Return what the engine says of a model."""
    client = avocado.ollama()
    try:
        return client.show(model)
    finally:
        client._client.close()


def test_a_real_engine_makes_a_model_that_is_served(real: Avocado) -> None:
    """With what the Modelfile says of it, beside the one that was there."""
    real.create_model("mine", 'FROM tiny\nPARAMETER num_predict 3\nSYSTEM "Be brief."')
    assert served(real) >= {"tiny:latest", "mine:latest"}
    assert stream_chat(real.url, real.api_key, "mine")
    made = shown(real, "mine")
    assert "num_predict" in (made.parameters or "")
    assert "Be brief." in (made.modelfile or "")


def test_the_same_name_again_replaces_the_model(real: Avocado) -> None:
    """And it is served as before."""
    real.create_model("again", "FROM tiny\nSYSTEM one\n")
    real.create_model("again", "FROM tiny\nSYSTEM two\n")
    assert "two" in (shown(real, "again").modelfile or "")
    assert "again:latest" in served(real)


def test_a_model_that_is_not_here_is_pulled_first(
    real: Avocado, same_home: Home
) -> None:
    """By the engine, from this service's registry, and this is printed."""
    folder = StateFolder.find(rehearsal=True)
    pulled = create_model(folder, "of-another", "FROM another:7b\n")
    assert pulled == ("another:7b",)
    assert create_model(folder, "of-another", "FROM another:7b\n") == ()
    assert "of-another:latest" not in served(real), "it is served, but not wanted"
    same_home.up("of-another")
    assert stream_chat(real.url, real.api_key, "of-another")


def test_a_file_beside_the_notebook_is_found(
    real: Avocado, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path leads from the notebook's folder, spaces and all."""
    (tmp_path / "my model.gguf").write_bytes(tiny_gguf())
    monkeypatch.chdir(tmp_path)
    real.create_model("of-file", "FROM ./my model.gguf\n")
    assert stream_chat(real.url, real.api_key, "of-file")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM tiny\nSTOP x\n", "Line 3 of this cell, 'STOP x'"),
        ("FROM tiny\nSTOP\n", "Line 3 of this cell, 'STOP'"),
        ("FROM tiny\nPARAMETER temprature 1\n", "Line 3 of this cell"),
        ("FROM tiny\nPARAMETER temperature hot\n", "Line 3 of this cell"),
        ("FROM tiny\nMESSAGE robot hi\n", "Line 3 of this cell"),
        ("SYSTEM hi\n", "no FROM line"),
        ('FROM tiny\nSYSTEM """never closed\n', "unexpected EOF"),
    ],
)
def test_a_mistake_found_by_a_real_engine_names_the_line(
    real: Avocado, text: str, message: str
) -> None:
    """In the engine's words, old and new."""
    with pytest.raises(UsageError) as caught:
        real.create_model("bad", text)
    assert message in caught.value.problem
    assert "bad:latest" not in served(real)


def test_a_made_model_comes_back_with_a_new_host(
    home: Home, real_ollama: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is on disk: the registry, which has nothing so named, is not asked for it."""
    path = os.pathsep.join((str(real_ollama.parent), os.environ["PATH"]))
    monkeypatch.setenv("PATH", path)
    avocado = home.up("tiny", models_dir=str(tmp_path))
    avocado.create_model("missing-mine", "FROM tiny\nPARAMETER num_predict 3\n")
    again = home.up(restart=True)
    assert set(again.models) == {"tiny", "missing-mine"}
    assert "missing-mine:latest" in served(again)
    assert stream_chat(again.url, again.api_key, "missing-mine")
    assert "num_predict" in (shown(again, "missing-mine").parameters or "")
    state = again.status()
    assert state is not None
    assert "already on disk" in state.stage("pull").detail
    assert all(model.phase is Phase.READY for model in state.models)


def test_a_rehearsal_makes_models_too(home: Home) -> None:
    """So that notebooks run in it unchanged."""
    avocado = home.up("tiny")
    avocado.create_model("mine", "FROM llama3:8b\nSYSTEM Be brief.\n")
    assert served(avocado) == {"tiny:latest", "mine:latest"}
    assert "avocado" in stream_chat(avocado.url, avocado.api_key, "mine")
    with pytest.raises(UsageError, match="Line 3 of this cell"):
        avocado.create_model("bad", "FROM tiny\nSTOP x\n")
    left = [file.name for file in StateFolder.find(rehearsal=True).path.iterdir()]
    assert not {"Modelfile", "create.output"} & set(left), "a Modelfile was left behind"
    state = avocado.status()
    assert state is not None
    assert state.is_ready


@pytest.fixture
def hanging(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[tuple[Avocado, threading.Thread]]:
    """A service with an ``ollama create`` that never ends, and a waiting cell."""
    program = tmp_path / "bin" / "ollama"
    program.parent.mkdir()
    stand_in = tmp_path / "stand-in"
    stand_in.write_bytes(engine_script("0.34.1"))
    stand_in.chmod(0o755)
    program.write_text(
        f'#!/bin/sh\n[ "$1" = create ] && exec sleep 600\nexec {stand_in} "$@"\n'
    )
    program.chmod(0o755)
    path = os.pathsep.join((str(program.parent), os.environ["PATH"]))
    monkeypatch.setenv("PATH", path)
    avocado = home.up("tiny")

    def make() -> None:
        with contextlib.suppress(AvocadoError):
            avocado.create_model("mine", "FROM tiny\n")

    cell = threading.Thread(target=make)
    cell.start()
    record = StateFolder.find(rehearsal=True).read_record
    deadline = time.monotonic() + WAIT_S
    while not any(child.name == "create" for child in _children(record())):
        assert time.monotonic() < deadline, "ollama create is not on record"
        time.sleep(0.02)
    yield avocado, cell
    cell.join(WAIT_S)
    assert not cell.is_alive(), "the cell waits on for a host that has gone"


def _children(record: DaemonRecord | None) -> tuple[Child, ...]:
    return record.children if record else ()


def test_a_killed_host_takes_what_makes_a_model_with_it(
    home: Home, hanging: tuple[Avocado, threading.Thread]
) -> None:
    """The guard knows of it as of the engine."""
    state = hanging[0].status()
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    left = home.wait_no_processes()
    assert not left, f"after the host: {left}"


def test_down_ends_what_makes_a_model(
    home: Home, hanging: tuple[Avocado, threading.Thread]
) -> None:
    """Nothing is left, neither process nor Modelfile."""
    down()
    assert not home.wait_no_processes()
    left = [file.name for file in StateFolder.find(rehearsal=True).path.iterdir()]
    assert "Modelfile" not in left


def test_a_base_that_no_registry_has_is_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In our words, and the service goes on as it was."""
    avocado = home.up("tiny")
    with pytest.raises(ModelUnavailable):
        avocado.create_model("mine", "FROM missing\n")
    assert served(avocado) == {"tiny:latest"}
