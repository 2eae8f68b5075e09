"""The main job on real Ollama servers, old and new, with stock clients."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anthropic
import ollama
import psutil
import pytest
import requests

from spicy_avocado_magic import down
from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.errors import UserActionRequired
from spicy_avocado_magic.protocol.state import Phase
from tests.machine_speed import scaled

from .chat import stream_chat
from .home import Home

OLDER = "0.11.4"


@pytest.fixture(scope="module")
def avocado(real_ollama: Path, same_home: Home) -> Iterator[Avocado]:
    """Bring up, once, with the real engine first on PATH, as a user has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", _with(real_ollama))
        yield same_home.up("tiny", path_key=True)
        down()


def _with(engine: Path) -> str:
    return os.pathsep.join((str(engine.parent), os.environ["PATH"]))


def _is_older(avocado: Avocado) -> bool:
    state = avocado.status()
    assert state is not None
    return OLDER in state.engine


def test_the_whole_path_works_on_a_real_engine(
    same_home: Home, avocado: Avocado
) -> None:
    """Up, a streamed chat, all stages ready with facts."""
    assert stream_chat(avocado.url, avocado.api_key), "the model gave no answer"
    state = avocado.status()
    assert state is not None
    (model,) = state.models
    assert model.phase is Phase.READY
    assert model.memory_bytes > 0, "the model's memory is not known"
    assert model.gpu_bytes == 0, "a machine without a GPU reports GPU memory"
    assert "PATH" in state.stage("install").detail
    engines = [p for p in same_home.processes() if p.name() == "ollama"]
    assert engines, "the engine is not the real one"


def test_stock_clients_work_with_url_and_key_alone(avocado: Avocado) -> None:
    """`ollama` for Python, `anthropic`, and curl."""
    headers = {"Authorization": f"Bearer {avocado.api_key}"}
    with ollama.Client(host=avocado.url, headers=headers) as client:
        answer = client.chat(
            model="tiny",
            messages=[{"role": "user", "content": "hi"}],
            options={"num_predict": 4},
        )
    assert answer.done, "ollama for Python got no whole answer"
    if _is_older(avocado):
        with pytest.raises(UserActionRequired, match="and later have it"):
            avocado.anthropic()
    else:
        with anthropic.Anthropic(base_url=avocado.url, api_key=avocado.api_key) as api:
            message = api.messages.create(
                model="tiny",
                max_tokens=4,
                messages=[{"role": "user", "content": "hi"}],
            )
        assert message.role == "assistant"
    curl = ["curl", "-sSf", "-H", f"x-api-key: {avocado.api_key}"]
    tags = subprocess.run(
        [*curl, f"{avocado.url}/api/tags"], capture_output=True, text=True, check=True
    )
    assert "tiny" in tags.stdout


def test_no_code_is_handed_over_that_the_engine_does_not_understand(
    avocado: Avocado,
) -> None:
    """An older one has no Anthropic API, and the code for it says so."""
    headers = {"Authorization": f"Bearer {avocado.api_key}"}
    url = f"{avocado.local_url}/v1/messages"
    body = {"model": "tiny", "max_tokens": 1, "messages": []}
    status = requests.post(
        url, json=body, headers=headers, timeout=scaled(60)
    ).status_code
    codes = {snippet.title: snippet.code for snippet in avocado.snippets()}
    for title in ("anthropic (Python)", "Claude Code"):
        is_warned = "--ollama-version" in codes[title]
        assert is_warned is (status not in (200, 400)), f"{status}: {codes[title]}"


def test_the_ollama_program_works_through_the_path_key(
    avocado: Avocado, real_ollama: Path
) -> None:
    """`OLLAMA_HOST=URL/KEY ollama run` needs nothing else."""
    host = {"OLLAMA_HOST": f"{avocado.url}/{avocado.api_key}"}
    listed = subprocess.run(
        [str(real_ollama), "list"],
        env=os.environ | host,
        capture_output=True,
        text=True,
        check=True,
        timeout=scaled(30),
    )
    assert "tiny" in listed.stdout, listed.stderr


def test_a_models_folder_on_a_drive_makes_the_next_session_pull_nothing(
    home: Home, real_ollama: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A model of hf.co, in a folder that outlives `down`, on a real engine."""
    monkeypatch.setenv("PATH", _with(real_ollama))
    name = "hf.co/somebody/Tiny-GGUF:Q4_K_M"
    details = []
    for _ in range(2):
        avocado = home.up(name, models_dir=str(tmp_path), local=True)
        assert stream_chat(avocado.local_url, avocado.api_key, name)
        state = avocado.status()
        assert state is not None
        details.append(state.stage("pull").detail)
        down()
    assert "downloaded" in details[0]
    assert "already on disk" in details[1], "the second session pulled again"


@pytest.mark.alone
def test_killing_the_host_ends_the_real_engine_and_its_runner(
    home: Home, real_ollama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No runner keeps its memory after its host was killed."""
    monkeypatch.setenv("PATH", _with(real_ollama))
    avocado = home.up("tiny")
    assert stream_chat(avocado.url, avocado.api_key)
    state = avocado.status()
    assert state is not None
    psutil.Process(state.pid).kill()
    left = home.wait_no_processes(within_s=scaled(1.0))
    assert not left, f"a second after the host: {left}"
