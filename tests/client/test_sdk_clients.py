"""Clients of other packages: their class, their URL, and what is missing."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import anthropic
import ollama
import openai
import pytest

from spicy_avocado_magic.client.handle import Avocado
from spicy_avocado_magic.client.sdk_clients import (
    anthropic_client,
    ollama_client,
    openai_client,
)
from spicy_avocado_magic.errors import UserActionRequired
from spicy_avocado_magic.protocol.state import State
from spicy_avocado_magic.protocol.state_folder import StateFolder

STATE = State(pid=1, local_url="http://127.0.0.1:8000", api_key="the-key-1")
OPEN = State(pid=1, local_url="http://127.0.0.1:8000")


def test_each_client_is_of_its_package_and_has_url_and_key() -> None:
    """Only model and question have to be given."""
    with openai_client(STATE) as client:
        assert isinstance(client, openai.OpenAI)
        assert str(client.base_url) == "http://127.0.0.1:8000/v1/"
        assert client.api_key == "the-key-1"
    with anthropic_client(STATE) as other:
        assert isinstance(other, anthropic.Anthropic)
        assert str(other.base_url) == "http://127.0.0.1:8000"
        assert other.api_key == "the-key-1"
    native = ollama_client(STATE)
    assert isinstance(native, ollama.Client)
    assert native._client.headers["Authorization"] == "Bearer the-key-1"
    assert str(native._client.base_url).rstrip("/") == "http://127.0.0.1:8000"
    native._client.close()


def test_keys_of_other_services_are_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in the environment are for cloud services, even under ``--no-auth``."""
    names = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
    for name in (*names, "OLLAMA_API_KEY"):
        monkeypatch.setenv(name, "secret-of-a-cloud")
    for state in (STATE, OPEN):
        with openai_client(state) as first, anthropic_client(state) as second:
            native = ollama_client(state)
            sent = [*first.auth_headers.values(), *second.auth_headers.values()]
            sent += native._client.headers.values()
            native._client.close()
        assert "secret-of-a-cloud" not in " ".join(map(str, sent))


@pytest.mark.parametrize("package", ["openai", "ollama", "anthropic"])
def test_the_error_for_a_missing_package_has_the_line_that_installs_it(
    package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The user does not see an ImportError."""
    monkeypatch.setitem(sys.modules, package, None)
    avocado = Avocado(StateFolder(tmp_path), "restored")
    monkeypatch.setattr(avocado, "status", lambda: STATE)
    with pytest.raises(UserActionRequired) as caught:
        getattr(avocado, package)()
    assert f"%pip install {package}" in caught.value.remedy


def test_an_engine_without_the_api_is_an_error_before_any_request() -> None:
    """The engine would answer 404."""
    old = replace(STATE, engine="Ollama 0.13.5")
    with pytest.raises(UserActionRequired, match="and later have it") as caught:
        anthropic_client(old)
    assert "%avocado_up --ollama-version" in caught.value.remedy


@pytest.mark.parametrize("name", ["openai", "ollama", "anthropic", "snippets"])
def test_without_a_service_the_remedy_is_to_start_one(
    name: str, tmp_path: Path
) -> None:
    """For clients and for snippets."""
    avocado = Avocado(StateFolder(tmp_path), "restored")
    with pytest.raises(UserActionRequired, match="%avocado_up"):
        getattr(avocado, name)()
