"""The types of the public API: checked by mypy, never run.

A line with ``type: ignore`` has to be an error: mypy reports the comment if it is not.
"""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

from anthropic import Anthropic
from ollama import Client
from openai import OpenAI

from spicy_avocado_magic import (
    Avocado,
    AvocadoError,
    doctor,
    down,
    logs,
    status,
    up,
)
from spicy_avocado_magic.client.down import DownResult, PurgeResult
from spicy_avocado_magic.client.snippets import Snippets
from spicy_avocado_magic.protocol.finding import CheckStatus, Finding
from spicy_avocado_magic.protocol.state import ApiKeyState, State
from spicy_avocado_magic.system.redaction import Secret


def show_state(state: State) -> None:
    """Show a state, as ``up`` calls it."""


def check_up(token: Secret) -> None:
    """``up`` takes models by position and every option by name."""
    assert_type(up(), Avocado)
    assert_type(up("llama3", ["qwen3:8b"], ("gemma3",)), Avocado)
    assert_type(up("llama3", token=token, api_key="a-key-of-mine"), Avocado)
    up("llama3", token="a-token", domain="name.ngrok.app", pool=True)
    up("llama3", local=True, no_auth=True, hide_key=True, path_key=True)
    up("llama3", manage=True, any_model=True, registry=["registry.example.org"])
    up("llama3", cors=["https://app.example"], limit={"rpm": 60, "body": "32MB"})
    up("llama3", cors="*", limit="rpm=60", metrics_port="0.0.0.0:9464")
    up("llama3", metrics_port=9464, port=8000, context=8192, keep_alive="30m")
    up("llama3", models_dir=Path("models"), ollama_version="latest", ttl="2h")
    up("llama3", ttl=90.5, detach=True, background=True, restart=True, only=True)
    up("llama3", rehearse=True, domain=None, show=show_state)

    up("llama3", domian="x")  # type: ignore[call-arg]
    up("llama3", models=["qwen3"])  # type: ignore[call-arg]
    up("llama3", local="yes")  # type: ignore[arg-type]
    up("llama3", port=[8000])  # type: ignore[arg-type]
    up("llama3", cors={"https://app.example": 1}, limit=60)  # type: ignore[arg-type]
    up(None)  # type: ignore[arg-type]


def check_functions() -> None:
    """The other functions take keyword arguments alone."""
    state = status(rehearse=True)
    assert_type(state, State | None)
    assert_type(logs("engine", count=10, rehearse=False), list[str])
    results = down(rehearse=True, purge=True)
    assert_type(results, tuple[DownResult, ...])
    assert_type(results[0].processes, tuple[str, ...])
    assert_type(results[0].purged, PurgeResult | None)
    findings = doctor(rehearse=True, report="report.json")
    assert_type(findings, tuple[Finding, ...])
    assert_type(findings[0].verdict, CheckStatus)
    doctor(report=Path("report.json"))

    status(True)  # type: ignore[call-arg]
    down(True)  # type: ignore[call-arg]
    logs(count="10")  # type: ignore[arg-type]
    assert status().url  # type: ignore[union-attr]


def check_attributes(avocado: Avocado) -> None:
    """The handle's properties have plain types, and cannot be assigned."""
    assert_type(avocado.url, str)
    assert_type(avocado.local_url, str)
    assert_type(avocado.api_key, str)
    assert_type(avocado.metrics_url, str)
    assert_type(avocado.metrics_token, str)
    assert_type(avocado.models, tuple[str, ...])
    assert_type(avocado.outcome, str)
    assert_type(avocado.headline, str)
    assert_type(avocado.has_new_key, bool)
    assert_type(avocado.has_new_token, bool)

    avocado.url = "https://elsewhere.example"  # type: ignore[misc]


def check_methods(avocado: Avocado) -> None:
    """The handle's methods."""
    assert_type(avocado.status(), State | None)
    assert_type(avocado.logs("gateway", 10), list[str])
    assert_type(avocado.keys(), tuple[ApiKeyState, ...])
    key = avocado.add_key(
        "alice", rpm=60, tokens=10**6, models=["llama3"], expires="2h", manage=True
    )
    assert_type(key, Secret)
    assert_type(key.get_secret_value(), str)
    avocado.add_key("bob", models="llama3", expires=3600.0)
    avocado.revoke_key("alice")
    avocado.create_model("mine", "FROM llama3")
    assert_type(avocado.snippets(show_key=True), Snippets)
    assert_type(avocado.down(), DownResult)
    with avocado as entered:
        assert_type(entered, Avocado)

    avocado.add_key("alice", 60)  # type: ignore[call-arg]
    avocado.add_key("alice", rpn=60)  # type: ignore[call-arg]
    avocado.snippets(True)  # type: ignore[call-arg]


def check_clients(avocado: Avocado) -> None:
    """Clients have the types of their packages."""
    assert_type(avocado.openai(), OpenAI)
    assert_type(avocado.ollama(), Client)
    assert_type(avocado.anthropic(), Anthropic)


def check_errors(error: AvocadoError) -> None:
    """An error has a problem and a remedy."""
    assert_type(error.problem, str)
    assert_type(error.remedy, str)
    assert_type(error.log_tail, tuple[str, ...])
    assert_type(error.permanent, bool)

    AvocadoError("It broke.")  # type: ignore[call-arg]
